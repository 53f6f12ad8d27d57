import type { LucideIcon } from 'lucide-react';
import type { ReactNode } from 'react';

interface EmptyProps {
  icon: LucideIcon;
  title: string;
  text?: string;
  children?: ReactNode;
}

/** Nothing there, and what to do about it. */
export function Empty({ icon: Icon, title, text, children }: EmptyProps) {
  return (
    <div className="flex flex-col items-center px-4 py-10 text-center">
      <Icon aria-hidden className="mb-3 size-7 text-muted" strokeWidth={1.5} />
      <p className="font-medium">{title}</p>
      {text && <p className="mt-1 max-w-sm text-muted">{text}</p>}
      {children && <div className="mt-4 flex flex-wrap justify-center gap-2">{children}</div>}
    </div>
  );
}
