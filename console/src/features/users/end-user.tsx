/** What ends a user's work: for a while, or for good. */

import type { User } from '@/api/schema';
import { Confirm } from '@/components/ui/confirm';
import { useNotify } from '@/components/ui/notices';
import { useMessages } from '@/messages/messages';

import { useDeactivateUser, useDeleteUser } from './api';

interface EndUserProps {
  user: User;
  onClose: () => void;
}

export function DeactivateUser({ user, onClose }: EndUserProps) {
  const { users: says } = useMessages();
  const deactivate = useDeactivateUser(user.id);
  return (
    <Confirm
      title={says.deactivateTitle(user.name)}
      submit={says.deactivate}
      pending={deactivate.isPending}
      error={deactivate.error}
      onConfirm={() => deactivate.mutate(undefined, { onSuccess: onClose })}
      onClose={onClose}
    >
      <p>{says.deactivateText(user.active_access_keys)}</p>
      <p>{says.deactivateErases}</p>
      <p className="text-muted">{says.deactivateKeeps}</p>
    </Confirm>
  );
}

export function DeleteUser({
  user,
  onClose,
  onDeleted,
}: EndUserProps & { onDeleted?: () => void }) {
  const { users: says, actions } = useMessages();
  const notify = useNotify();
  const remove = useDeleteUser(user.id);
  const done = () => {
    notify(says.deleted(user.name));
    onClose();
    onDeleted?.();
  };
  return (
    <Confirm
      title={says.deleteTitle(user.name)}
      submit={actions.delete}
      phrase={{ label: says.typeName(user.name), text: user.name }}
      pending={remove.isPending}
      error={remove.error}
      onConfirm={() => remove.mutate(undefined, { onSuccess: done })}
      onClose={onClose}
    >
      <p>{says.deleteText(user.active_access_keys)}</p>
      <p className="text-muted">{says.deleteKeeps}</p>
    </Confirm>
  );
}
