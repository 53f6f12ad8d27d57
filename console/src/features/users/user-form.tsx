import { useState, type FormEvent, type ReactNode } from 'react';
import { useNavigate } from 'react-router';

import type { User } from '@/api/schema';
import { Dialog } from '@/components/ui/dialog';
import { Field, Input, TextArea } from '@/components/ui/field';
import { FormActions } from '@/components/ui/form-actions';
import { changed, written } from '@/components/ui/written';
import { isAmount } from '@/formats/amount';
import { useMessages } from '@/messages/messages';

import { useChangeUser, useCreateUser } from './api';

interface Named {
  name: string;
  description: string | null;
}

export function CreateUser({ onClose }: { onClose: () => void }) {
  const { users: says, budget } = useMessages();
  const navigate = useNavigate();
  const create = useCreateUser();
  const [amount, setAmount] = useState('');
  const isFine = amount === '' || isAmount(amount);
  return (
    <UserForm
      title={says.createTitle}
      text={says.createText}
      submit={create.isPending ? says.creating : says.createSubmit}
      pending={create.isPending || !isFine}
      error={create.error}
      onSubmit={(named) =>
        create.mutate(
          { ...named, monthly_budget_usd: amount || null },
          { onSuccess: (user) => void navigate(`/users/${user.id}`) },
        )
      }
      onClose={onClose}
    >
      <Field
        label={says.budgetField}
        hint={says.budgetFieldHint}
        error={isFine ? null : budget.invalid}
      >
        <Input
          inputMode="decimal"
          value={amount}
          onChange={({ target }) => setAmount(target.value.trim())}
        />
      </Field>
    </UserForm>
  );
}

export function EditUser({ user, onClose }: { user: User; onClose: () => void }) {
  const { users: says, actions } = useMessages();
  const change = useChangeUser(user.id);
  // It is read again while somebody writes.
  const [shown] = useState(() => ({ name: user.name, description: user.description ?? null }));
  return (
    <UserForm
      title={says.editTitle(user.name)}
      shown={shown}
      submit={change.isPending ? actions.saving : actions.save}
      pending={change.isPending}
      error={change.error}
      onSubmit={(named) => change.mutate(changed(shown, named), { onSuccess: onClose })}
      onClose={onClose}
    />
  );
}

interface UserFormProps {
  title: string;
  text?: string;
  /** What is said of it so far. */
  shown?: Named;
  submit: string;
  pending: boolean;
  error: unknown;
  onSubmit: (named: Named) => void;
  onClose: () => void;
  children?: ReactNode;
}

function UserForm(props: UserFormProps) {
  const { title, text, shown, submit, pending, error, onSubmit, onClose, children } = props;
  const { users: says } = useMessages();

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    onSubmit({
      name: written(form, 'name').trim(),
      description: written(form, 'description').trim() || null,
    });
  }

  return (
    <Dialog title={title} text={text} onClose={onClose}>
      <form onSubmit={send} className="space-y-4">
        <Field label={says.name}>
          <Input
            name="name"
            defaultValue={shown?.name}
            required
            maxLength={255}
            autoComplete="off"
          />
        </Field>
        <Field label={says.description} hint={says.descriptionHint}>
          <TextArea name="description" defaultValue={shown?.description ?? ''} maxLength={2000} />
        </Field>
        {children}
        <FormActions error={error} submit={submit} disabled={pending} onCancel={onClose} />
      </form>
    </Dialog>
  );
}
