import type { ModelMapping } from '@/api/schema';
import { Confirm } from '@/components/ui/confirm';
import { useNotify } from '@/components/ui/notices';
import { useMessages } from '@/messages/messages';

import { useDeleteMapping } from './api';

export function DeleteMapping({
  mapping,
  onClose,
}: {
  mapping: ModelMapping;
  onClose: () => void;
}) {
  const { models: says } = useMessages();
  const notify = useNotify();
  const remove = useDeleteMapping(mapping.id);
  return (
    <Confirm
      title={says.deleteTitle(mapping.claude_model)}
      submit={says.deleteSubmit}
      pending={remove.isPending}
      error={remove.error}
      onConfirm={() =>
        remove.mutate(undefined, {
          onSuccess: () => {
            notify(says.deleted);
            onClose();
          },
        })
      }
      onClose={onClose}
    >
      <p>{says.deleteText}</p>
    </Confirm>
  );
}
