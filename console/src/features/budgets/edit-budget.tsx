import { useState } from 'react';

import type { User, UserBudget } from '@/api/schema';
import { Dialog } from '@/components/ui/dialog';
import { Checkbox, Field, Input } from '@/components/ui/field';
import { FormActions } from '@/components/ui/form-actions';
import { useNotify } from '@/components/ui/notices';
import { isAmount } from '@/formats/amount';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { usePutBudget } from './api';

interface EditBudgetProps {
  user: User;
  budget: UserBudget;
  onClose: () => void;
}

export function EditBudget({ user, budget, onClose }: EditBudgetProps) {
  const { budget: says, actions } = useMessages();
  const formats = useFormats();
  const notify = useNotify();
  const put = usePutBudget(user.id);
  const now = budget.monthly_budget_usd;
  const [amount, setAmount] = useState(now ? Number(now).toFixed(2) : '');
  const [isUnlimited, setUnlimited] = useState(false);
  const spent = Number(budget.current_usage_usd);
  const isValid = isUnlimited || isAmount(amount);
  const stopsAtOnce = !isUnlimited && isValid && Number(amount) <= spent;

  function save() {
    if (!isValid) return;
    put.mutate(isUnlimited ? null : amount, {
      onSuccess: () => {
        notify(says.saved);
        onClose();
      },
    });
  }

  return (
    <Dialog title={says.editTitle(user.name)} text={says.editText} onClose={onClose}>
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          save();
        }}
      >
        <Field label={says.amount} error={amount === '' || isValid ? null : says.invalid}>
          <Input
            inputMode="decimal"
            autoComplete="off"
            value={isUnlimited ? '' : amount}
            disabled={isUnlimited}
            onChange={({ target }) => setAmount(target.value.trim())}
          />
        </Field>
        <Checkbox
          label={says.unlimited}
          checked={isUnlimited}
          onChange={({ target }) => setUnlimited(target.checked)}
        />
        {stopsAtOnce && (
          <p className="rounded-md bg-warn-soft px-3 py-2 text-warn">
            {says.belowSpent(formats.usd(spent))}
          </p>
        )}
        <FormActions
          error={put.error}
          submit={put.isPending ? actions.saving : actions.save}
          disabled={put.isPending || !isValid}
          onCancel={onClose}
        />
      </form>
    </Dialog>
  );
}
