import { clsx } from 'clsx';
import { useId, type ReactNode } from 'react';

interface CardProps {
  title: ReactNode;
  text?: ReactNode;
  /** Beside the title. */
  aside?: ReactNode;
  className?: string;
  /** Tables reach the card's edges. */
  flush?: boolean;
  children: ReactNode;
}

export function Card({ title, text, aside, className, flush = false, children }: CardProps) {
  const id = useId();
  return (
    <section
      aria-labelledby={id}
      className={clsx(
        'flex min-w-0 flex-col rounded-xl border border-line bg-surface shadow-card',
        className,
      )}
    >
      <header className="flex flex-wrap items-start justify-between gap-x-4 gap-y-2 px-4 pt-4 pb-3 sm:px-5">
        <div className="min-w-0">
          <h2 id={id} className="font-semibold">
            {title}
          </h2>
          {text && <p className="mt-0.5 max-w-prose text-xs text-muted">{text}</p>}
        </div>
        {aside && <div className="flex flex-wrap items-center gap-2">{aside}</div>}
      </header>
      <div className={clsx('flex-1', flush ? 'pb-1' : 'px-4 pb-4 sm:px-5 sm:pb-5')}>{children}</div>
    </section>
  );
}
