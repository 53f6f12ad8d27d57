import { clsx } from 'clsx';
import { createContext, use, useId, type ComponentProps, type ReactNode } from 'react';

interface Ids {
  control: string;
  describedBy: string | undefined;
  invalid: boolean;
}

const FieldContext = createContext<Ids | null>(null);

interface FieldProps {
  label: string;
  hint?: ReactNode;
  error?: string | null;
  /** The label is for screen readers only. */
  hideLabel?: boolean;
  className?: string;
  children: ReactNode;
}

/** A control with its label, a hint, and what is wrong with it. */
export function Field({ label, hint, error, hideLabel = false, className, children }: FieldProps) {
  const id = useId();
  const noteId = `${id}-note`;
  const note = error ?? hint;
  const ids = { control: id, describedBy: note ? noteId : undefined, invalid: Boolean(error) };
  return (
    <div className={clsx('min-w-0', className)}>
      <label htmlFor={id} className={hideLabel ? 'sr-only' : 'mb-1 block text-xs font-medium'}>
        {label}
      </label>
      <FieldContext value={ids}>{children}</FieldContext>
      {note && (
        <p id={noteId} className={clsx('mt-1 text-xs', error ? 'text-bad' : 'text-muted')}>
          {note}
        </p>
      )}
    </div>
  );
}

function useFieldProps() {
  const ids = use(FieldContext);
  if (!ids) return {};
  return {
    id: ids.control,
    'aria-describedby': ids.describedBy,
    'aria-invalid': ids.invalid || undefined,
  };
}

const LOOK =
  'block w-full min-w-0 rounded-md border border-line-strong bg-surface text-ink placeholder:text-muted disabled:opacity-60 aria-invalid:border-bad';

export function Input({ className, ...props }: ComponentProps<'input'>) {
  return <input {...useFieldProps()} className={clsx(LOOK, 'h-9 px-2.5', className)} {...props} />;
}

export function TextArea({ className, ...props }: ComponentProps<'textarea'>) {
  return (
    <textarea
      {...useFieldProps()}
      rows={3}
      className={clsx(LOOK, 'px-2.5 py-2', className)}
      {...props}
    />
  );
}

/** The browser's own: it knows every keyboard and every phone. */
export function Select({ className, ...props }: ComponentProps<'select'>) {
  return (
    <select {...useFieldProps()} className={clsx(LOOK, 'h-9 pr-7 pl-2', className)} {...props} />
  );
}

export function Checkbox({ label, ...props }: ComponentProps<'input'> & { label: string }) {
  return (
    <label className="inline-flex items-center gap-2">
      <input type="checkbox" className="size-4 accent-(--accent)" {...props} />
      {label}
    </label>
  );
}
