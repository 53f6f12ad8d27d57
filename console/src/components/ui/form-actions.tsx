import { useMessages } from '@/messages/messages';

import { Button } from './button';
import { DialogActions } from './dialog';
import { ProblemNote } from './problem';

interface FormActionsProps {
  /** Why it could not be done. */
  error: unknown;
  submit: string;
  /** Something is missing. */
  disabled?: boolean;
  /** It is being done, and closing the dialog would not stop it. */
  pending?: boolean;
  variant?: 'primary' | 'danger';
  onCancel: () => void;
}

/** How the form in a dialog ends: what went wrong, and the ways out. */
export function FormActions(props: FormActionsProps) {
  const { error, submit, disabled = false, pending = false, variant = 'primary', onCancel } = props;
  const { actions } = useMessages();
  return (
    <>
      <ProblemNote error={error} />
      <DialogActions>
        <Button disabled={pending} onClick={onCancel}>
          {actions.cancel}
        </Button>
        <Button type="submit" variant={variant} disabled={pending || disabled}>
          {submit}
        </Button>
      </DialogActions>
    </>
  );
}
