import { useQuery } from '@tanstack/react-query';
import { GraduationCap, X } from 'lucide-react';
import { useState } from 'react';

import { Button } from '@/components/ui/button';
import { Confirm } from '@/components/ui/confirm';
import { Empty } from '@/components/ui/empty';
import { ListCard } from '@/components/ui/list-card';
import { useNotify } from '@/components/ui/notices';
import { Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { capabilitiesQuery, useForgetCapability, useForgetLearned } from './api';

const ANY = '*';

/** What Bedrock refuses, as proxies have learned it. */
export function Capabilities() {
  const { models: says, state } = useMessages();
  const formats = useFormats();
  const notify = useNotify();
  const query = useQuery(capabilitiesQuery);
  const forget = useForgetCapability();
  const [isAsking, setAsking] = useState(false);
  const hasLearned = query.data?.some(({ source }) => source === 'learned');
  return (
    <ListCard
      title={says.capabilities}
      text={says.capabilitiesText}
      aside={
        <>
          {hasLearned && (
            <Button size="small" onClick={() => setAsking(true)}>
              {says.forgetAll}
            </Button>
          )}
          {isAsking && <ForgetLearned onClose={() => setAsking(false)} />}
        </>
      }
      items={query.data}
      error={query.error}
      onRetry={() => void query.refetch()}
      empty={
        <Empty icon={GraduationCap} title={says.noCapabilities} text={says.noCapabilitiesText} />
      }
    >
      {(capabilities) => (
        <Table
          label={says.capabilities}
          items={capabilities}
          keyOf={({ id }) => id}
          columns={[
            {
              name: says.feature,
              wraps: true,
              className: 'font-mono text-xs',
              cell: ({ feature }) => feature,
            },
            {
              name: says.model,
              wraps: true,
              cell: ({ model }) => (model === ANY ? says.everyModel : model),
            },
            {
              name: says.region,
              cell: ({ region }) => (region === ANY ? says.anywhere : region),
            },
            { name: says.source, cell: ({ source }) => says.sources[source] },
            {
              name: says.learnedAt,
              cell: ({ source, learned_at }) =>
                source === 'learned' ? formats.dateTime(learned_at) : state.none,
            },
            {
              name: says.expiresAt,
              cell: ({ expires_at }) => (expires_at ? formats.dateTime(expires_at) : state.never),
            },
          ]}
          actions={{
            name: says.forget(''),
            cell: ({ id, feature }) => (
              <Button
                variant="quiet"
                size="smallIcon"
                aria-label={says.forget(feature)}
                disabled={forget.isPending}
                onClick={() => forget.mutate(id, { onSuccess: () => notify(says.forgot) })}
              >
                <X />
              </Button>
            ),
          }}
        />
      )}
    </ListCard>
  );
}

function ForgetLearned({ onClose }: { onClose: () => void }) {
  const { models: says } = useMessages();
  const notify = useNotify();
  const forget = useForgetLearned();
  return (
    <Confirm
      title={says.forgetAllTitle}
      submit={says.forgetAllSubmit}
      pending={forget.isPending}
      error={forget.error}
      onConfirm={() =>
        forget.mutate(undefined, {
          onSuccess: () => {
            notify(says.forgot);
            onClose();
          },
        })
      }
      onClose={onClose}
    >
      <p>{says.forgetAllText}</p>
    </Confirm>
  );
}
