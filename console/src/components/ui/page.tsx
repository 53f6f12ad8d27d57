import { useEffect, type ReactNode } from 'react';

import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { Stale } from './stale';

interface PageProps {
  title: string;
  text?: ReactNode;
  /** Above the title: where one comes from. */
  above?: ReactNode;
  /** Beside the title: state, then actions. */
  aside?: ReactNode;
  /** Where there are no times, their zone needs no telling. */
  hasTimes?: boolean;
  children: ReactNode;
}

/** A page: its title, also of the window, the zone of its times, what is on it, and how old. */
export function Page({ title, text, above, aside, hasTimes = true, children }: PageProps) {
  const { product, state } = useMessages();
  const { zone } = useFormats();
  useEffect(() => {
    document.title = `${title} · ${product}`;
  }, [title, product]);
  return (
    <>
      {above}
      <header className="mb-5 flex flex-wrap items-start justify-between gap-x-4 gap-y-3">
        <div className="min-w-0">
          <h1 className="text-xl font-semibold tracking-tight break-words">{title}</h1>
          {text && <p className="mt-1 max-w-2xl break-words text-muted">{text}</p>}
        </div>
        <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
          {hasTimes && <p className="text-xs text-muted">{state.zone(zone)}</p>}
          {aside}
        </div>
      </header>
      <Stale />
      <div className="space-y-4">{children}</div>
    </>
  );
}
