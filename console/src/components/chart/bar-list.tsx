import type { ReactNode } from 'react';

import { useFormats } from '@/formats/use-formats';

export interface BarListItem {
  key: string;
  name: ReactNode;
  value: number;
  /** Instead of the value, as people read it. */
  shown: string;
  note?: string;
}

/** A few things, the largest first, with a bar for each and its share. */
export function BarList({ items, total }: { items: BarListItem[]; total: number }) {
  const formats = useFormats();
  const largest = Math.max(...items.map(({ value }) => value), 0);
  return (
    <ol className="space-y-2.5">
      {items.map(({ key, name, value, shown, note }) => (
        <li key={key}>
          <div className="flex items-baseline justify-between gap-3">
            <span className="min-w-0 wrap-anywhere">{name}</span>
            <span className="shrink-0 tabular-nums">
              {shown}
              <span className="ml-2 inline-block w-12 text-right text-xs text-muted">
                {total > 0 ? formats.percent(value / total) : ''}
              </span>
            </span>
          </div>
          <svg aria-hidden className="mt-1 block h-1.5 w-full rounded-full bg-sunken">
            <rect
              height="100%"
              rx="3"
              width={`${largest > 0 ? (value / largest) * 100 : 0}%`}
              className="fill-accent"
            />
          </svg>
          {note && <p className="mt-0.5 text-xs text-muted">{note}</p>}
        </li>
      ))}
    </ol>
  );
}
