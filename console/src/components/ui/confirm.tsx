import { useState, type ReactNode } from 'react';

import { Dialog } from './dialog';
import { Field, Input } from './field';
import { FormActions } from './form-actions';

interface ConfirmProps {
  title: string;
  /** What it will break. */
  children: ReactNode;
  submit: string;
  pending: boolean;
  error: unknown;
  /** To be typed before it can be done. */
  phrase?: { label: string; text: string };
  onConfirm: () => void;
  onClose: () => void;
}

/** As a page shows it: white space in it is shown as one space. */
const asShown = (text: string) => text.trim().replace(/\s+/g, ' ');

/** Asks before something is broken. */
export function Confirm(props: ConfirmProps) {
  const { title, children, submit, pending, error, phrase, onConfirm, onClose } = props;
  const [typed, setTyped] = useState('');
  const ready = !phrase || asShown(typed) === asShown(phrase.text);
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) onConfirm();
        }}
      >
        <div className="space-y-2">{children}</div>
        {phrase && (
          <div className="mt-4">
            <Field label={phrase.label}>
              <Input
                value={typed}
                autoComplete="off"
                onChange={(event) => setTyped(event.target.value)}
              />
            </Field>
          </div>
        )}
        <FormActions
          error={error}
          submit={submit}
          disabled={pending || !ready}
          variant="danger"
          onCancel={onClose}
        />
      </form>
    </Dialog>
  );
}
