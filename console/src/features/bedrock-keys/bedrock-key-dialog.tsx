import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import type { BedrockKeyDetails } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Button } from '@/components/ui/button';
import { Confirm } from '@/components/ui/confirm';
import { Dialog } from '@/components/ui/dialog';
import { Fact, Facts } from '@/components/ui/facts';
import { useNotify } from '@/components/ui/notices';
import { Problem } from '@/components/ui/problem';
import { Skeleton } from '@/components/ui/skeleton';
import { useSettings } from '@/features/settings/api';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { bedrockKeyQuery, useDeleteBedrockKey } from './api';
import { CredentialForm } from './credential-form';

interface BedrockKeyDialogProps {
  access_key_id: string;
  /** What the access key is called. */
  name: string;
  isRegistered: boolean;
  /** Where the key is used; null: where the proxies are set to. */
  region: string | null;
  /** Nobody but Bedrock answers for this key. */
  isBedrockOnly: boolean;
  onClose: () => void;
}

/** The credential of an access key: what is known of it, a new one, or none any more. */
export function BedrockKeyDialog(props: BedrockKeyDialogProps) {
  const { access_key_id, name, isRegistered, isBedrockOnly, onClose } = props;
  const { bedrock_region } = useSettings();
  const { credential: says } = useMessages();
  const notify = useNotify();
  const query = useQuery({ ...bedrockKeyQuery(access_key_id), enabled: isRegistered });
  const [isRemoving, setRemoving] = useState(false);
  const remove = useDeleteBedrockKey(access_key_id);

  if (isRemoving) {
    return (
      <Confirm
        title={says.removeTitle(name)}
        submit={remove.isPending ? says.removing : says.remove}
        pending={remove.isPending}
        error={remove.error}
        onConfirm={() =>
          remove.mutate(undefined, {
            onSuccess: () => {
              notify(says.removed);
              onClose();
            },
          })
        }
        onClose={() => setRemoving(false)}
      >
        <p>{says.removeText}</p>
        {isBedrockOnly && <p className="font-medium text-bad">{says.removeBedrockOnly}</p>}
      </Confirm>
    );
  }
  return (
    <Dialog title={says.title(name)} text={says.text} onClose={onClose}>
      {isRegistered && (
        <section className="mb-5 rounded-lg border border-line p-3">
          {query.data ? (
            <>
              <Registered details={query.data} />
              <Button size="small" className="mt-3" onClick={() => setRemoving(true)}>
                {says.remove}
              </Button>
            </>
          ) : query.error ? (
            <Problem error={query.error} onRetry={() => void query.refetch()} />
          ) : (
            <Skeleton className="h-28" />
          )}
        </section>
      )}
      <CredentialForm
        access_key_id={access_key_id}
        isReplacing={isRegistered}
        region={props.region ?? bedrock_region}
        onDone={() => {
          notify(says.saved);
          onClose();
        }}
      />
    </Dialog>
  );
}

function Registered({ details }: { details: BedrockKeyDetails }) {
  const { credential: says } = useMessages();
  const formats = useFormats();
  const { kind, region, registered_at, verified_at, last_used_at, last_status } = details;
  const works = typeof last_status === 'number' && last_status < 400;
  return (
    <Facts>
      <Fact name={says.kind}>{says.kinds[kind]}</Fact>
      <Fact name={says.region}>{region}</Fact>
      <Fact name={says.registered}>{formats.dateTime(registered_at)}</Fact>
      {verified_at && <Fact name={says.verified}>{formats.dateTime(verified_at)}</Fact>}
      <Fact name={says.lastUsed}>
        {last_used_at ? formats.dateTime(last_used_at) : says.notUsedYet}
      </Fact>
      {typeof last_status === 'number' && (
        <Fact name={says.lastAnswer}>
          <Badge tone={works ? 'good' : 'bad'}>
            {works ? says.answerOk(last_status) : says.answerBad(last_status)}
          </Badge>
        </Fact>
      )}
    </Facts>
  );
}
