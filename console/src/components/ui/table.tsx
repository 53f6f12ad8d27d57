import { clsx } from 'clsx';
import { ArrowDown, ArrowUp } from 'lucide-react';
import type { ComponentProps, ReactNode } from 'react';

interface TableProps {
  /** What the table is of, for screen readers. */
  label: string;
  head: ReactNode;
  children: ReactNode;
  className?: string;
}

/** A table that scrolls sideways when there is no room, also by keyboard. */
export function Table({ label, head, children, className }: TableProps) {
  return (
    <div
      role="group"
      aria-label={label}
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- who scrolls by keyboard must get there
      tabIndex={0}
      className={clsx('relative overflow-x-auto rounded-xl', className)}
    >
      <table className="w-full border-collapse text-left">
        <thead className="border-b border-line text-xs text-muted">
          <tr>{head}</tr>
        </thead>
        <tbody className="divide-y divide-line">{children}</tbody>
      </table>
    </div>
  );
}

const EDGES = 'first:pl-4 last:pr-4 sm:first:pl-5 sm:last:pr-5';

/** What names a row stays in sight while the rest scrolls. */
const NAMES_ROW = 'max-md:sticky max-md:left-0 max-md:z-1 max-md:bg-surface';

interface HeadCellProps extends ComponentProps<'th'> {
  numeric?: boolean;
  /** Given when the column can be sorted by. */
  sort?: Sorting;
}

export interface Sorting {
  direction: 'asc' | 'desc' | null;
  onSort: () => void;
}

export function HeadCell({ numeric, sort, className, children, ...props }: HeadCellProps) {
  return (
    <th
      scope="col"
      aria-sort={sort && ariaSort(sort)}
      className={clsx(
        'px-2 py-2 font-medium whitespace-nowrap first:max-md:sticky first:max-md:left-0 first:max-md:z-1 first:max-md:bg-surface',
        EDGES,
        numeric && 'text-right',
        className,
      )}
      {...props}
    >
      {sort ? <SortButton sort={sort}>{children}</SortButton> : children}
    </th>
  );
}

export function ariaSort({ direction }: Sorting) {
  if (!direction) return undefined;
  return direction === 'asc' ? ('ascending' as const) : ('descending' as const);
}

export function SortButton({ sort, children }: { sort: Sorting; children: ReactNode }) {
  const Arrow = sort.direction === 'asc' ? ArrowUp : ArrowDown;
  return (
    <button
      type="button"
      onClick={sort.onSort}
      className="group inline-flex items-center gap-1 font-medium hover:text-ink"
    >
      {children}
      <Arrow
        aria-hidden
        className={clsx('size-3', sort.direction ? 'text-ink' : 'opacity-0 group-hover:opacity-60')}
      />
    </button>
  );
}

export function Cell({
  numeric,
  className,
  ...props
}: ComponentProps<'td'> & { numeric?: boolean }) {
  return (
    <td
      className={clsx(
        'px-2 py-2.5',
        EDGES,
        numeric && 'text-right whitespace-nowrap tabular-nums',
        className,
      )}
      {...props}
    />
  );
}

/** What can be done with the row stays in sight, too. */
export function ActionsCell({ className, ...props }: ComponentProps<'td'>) {
  return (
    <td
      className={clsx(
        'px-2 py-2.5 text-right max-md:sticky max-md:right-0 max-md:z-1 max-md:bg-surface',
        EDGES,
        className,
      )}
      {...props}
    />
  );
}

/** The cell that names the row. */
export function RowHead({ className, ...props }: ComponentProps<'th'>) {
  return (
    <th
      scope="row"
      className={clsx('px-2 py-2.5 font-normal', EDGES, NAMES_ROW, className)}
      {...props}
    />
  );
}
