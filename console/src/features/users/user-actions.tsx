import { Pencil, Power, PowerOff, Trash2 } from 'lucide-react';
import { useState, type ReactNode } from 'react';

import type { User } from '@/api/schema';
import { Menu, MenuItem } from '@/components/ui/menu';
import { useNotify } from '@/components/ui/notices';
import { useMessages } from '@/messages/messages';

import { useReactivateUser } from './api';
import { DeactivateUser, DeleteUser } from './end-user';
import { EditUser } from './user-form';

interface UserActionsProps {
  user: User;
  onDeleted?: () => void;
}

/** Everything that can be done to a user. */
export function UserActions({ user, onDeleted }: UserActionsProps) {
  const { users: says, actions } = useMessages();
  const notify = useNotify();
  const reactivate = useReactivateUser(user.id);
  const [asking, ask] = useState<'edit' | 'deactivate' | 'delete' | null>(null);
  const close = () => ask(null);
  const dialogs: Record<'edit' | 'deactivate' | 'delete', ReactNode> = {
    edit: <EditUser user={user} onClose={close} />,
    deactivate: <DeactivateUser user={user} onClose={close} />,
    delete: <DeleteUser user={user} onClose={close} onDeleted={onDeleted} />,
  };
  return (
    <>
      <Menu label={says.actionsOf(user.name)}>
        <MenuItem onSelect={() => ask('edit')}>
          <Pencil aria-hidden />
          {actions.edit}
        </MenuItem>
        {user.status === 'active' ? (
          <MenuItem onSelect={() => ask('deactivate')}>
            <PowerOff aria-hidden />
            {says.deactivate}…
          </MenuItem>
        ) : (
          <MenuItem
            onSelect={() =>
              reactivate.mutate(undefined, {
                onSuccess: () => notify(`${says.reactivated(user.name)} ${says.reactivatedText}`),
              })
            }
          >
            <Power aria-hidden />
            {says.reactivate}
          </MenuItem>
        )}
        <MenuItem danger onSelect={() => ask('delete')}>
          <Trash2 aria-hidden />
          {actions.delete}…
        </MenuItem>
      </Menu>
      {asking && dialogs[asking]}
    </>
  );
}
