import type { AccessKeyWithCircuit } from '@/api/schema';
import { Confirm } from '@/components/ui/confirm';
import { useNotify } from '@/components/ui/notices';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { useRevokeAccessKey } from './api';
import { keyName } from './key-name';

interface RevokeKeyProps {
  accessKey: AccessKeyWithCircuit;
  onClose: () => void;
}

export function RevokeKey({ accessKey, onClose }: RevokeKeyProps) {
  const { keys: says } = useMessages();
  const formats = useFormats();
  const now = useNow();
  const notify = useNotify();
  const revoke = useRevokeAccessKey(accessKey.id);
  const name = keyName(accessKey);
  const { last_used_at } = accessKey;
  return (
    <Confirm
      title={says.revokeTitle(name)}
      submit={revoke.isPending ? says.revoking : says.revokeSubmit}
      pending={revoke.isPending}
      error={revoke.error}
      onConfirm={() =>
        revoke.mutate(undefined, {
          onSuccess: () => {
            notify(says.revoked(name));
            onClose();
          },
        })
      }
      onClose={onClose}
    >
      <p>{says.revokeText}</p>
      <p className="font-medium">
        {last_used_at ? says.revokeLastUsed(formats.ago(last_used_at, now)) : says.revokeNeverUsed}
      </p>
      <p className="text-muted">{says.revokeErases}</p>
    </Confirm>
  );
}
