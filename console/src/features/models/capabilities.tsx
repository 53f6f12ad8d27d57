import { useQuery } from '@tanstack/react-query';
import { GraduationCap, X } from 'lucide-react';
import { useState } from 'react';

import { Button } from '@/components/ui/button';
import { Confirm } from '@/components/ui/confirm';
import { Empty } from '@/components/ui/empty';
import { ListCard } from '@/components/ui/list-card';
import { useNotify } from '@/components/ui/notices';
import { ActionsCell, Cell, HeadCell, RowHead, Table } from '@/components/ui/table';
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
          head={
            <>
              <HeadCell>{says.feature}</HeadCell>
              <HeadCell>{says.model}</HeadCell>
              <HeadCell>{says.region}</HeadCell>
              <HeadCell>{says.source}</HeadCell>
              <HeadCell>{says.learnedAt}</HeadCell>
              <HeadCell>{says.expiresAt}</HeadCell>
              <HeadCell>
                <span className="sr-only">{says.forget('')}</span>
              </HeadCell>
            </>
          }
        >
          {capabilities.map((it) => (
            <tr key={it.id}>
              <RowHead className="min-w-36 font-mono text-xs break-all">{it.feature}</RowHead>
              <Cell className="min-w-28 break-words">
                {it.model === ANY ? says.everyModel : it.model}
              </Cell>
              <Cell className="whitespace-nowrap">
                {it.region === ANY ? says.anywhere : it.region}
              </Cell>
              <Cell className="whitespace-nowrap">{says.sources[it.source]}</Cell>
              <Cell className="whitespace-nowrap">
                {it.source === 'learned' ? formats.dateTime(it.learned_at) : state.none}
              </Cell>
              <Cell className="whitespace-nowrap">
                {it.expires_at ? formats.dateTime(it.expires_at) : state.never}
              </Cell>
              <ActionsCell>
                <Button
                  variant="quiet"
                  size="smallIcon"
                  aria-label={says.forget(it.feature)}
                  disabled={forget.isPending}
                  onClick={() => forget.mutate(it.id, { onSuccess: () => notify(says.forgot) })}
                >
                  <X />
                </Button>
              </ActionsCell>
            </tr>
          ))}
        </Table>
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
