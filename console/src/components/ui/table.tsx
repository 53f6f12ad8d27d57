/* eslint-disable jsx-a11y/no-redundant-roles, jsx-a11y/no-interactive-element-to-noninteractive-role --
   a table whose rows are stacked is none for every browser unless it says so */
import { clsx } from 'clsx';
import { ArrowDown, ArrowUp } from 'lucide-react';
import { Fragment, type ReactNode } from 'react';

import { useStacking } from './stacking';

export interface Column<Item> {
  /** What it is called: above it, or beside each cell where rows are stacked. */
  name: string;
  cell: (item: Item) => ReactNode;
  numeric?: boolean;
  /** Its texts are long and may break, instead of taking the room that they need. */
  wraps?: boolean;
  /** Given when it can be sorted by. */
  sort?: Sorting;
  className?: string;
}

export interface Sorting {
  direction: 'asc' | 'desc' | null;
  onSort: () => void;
}

interface TableProps<Item> {
  /** What the table is of, for screen readers. */
  label: string;
  /** The first names the row. */
  columns: Column<Item>[];
  items: Item[];
  keyOf: (item: Item) => string;
  /** What can be done with a row, at its end; and how that column is called, for screen readers. */
  actions?: { name: string; cell: (item: Item) => ReactNode };
  /** What is told below a row, if anything. */
  below?: (item: Item) => ReactNode;
  rowClassName?: (item: Item) => string | undefined;
}

const EDGES = 'first:pl-4 last:pr-4 sm:first:pl-5 sm:last:pr-5';

/**
 * A table where there is room for it. Where there is none, its rows are stacked (`styles.css`),
 * so that nothing of them is beyond an edge. The roles keep it a table for screen readers then.
 */
export function Table<Item>(props: TableProps<Item>) {
  const { label, columns, items, keyOf, actions, below, rowClassName } = props;
  const { box, isStacked } = useStacking();
  return (
    <div ref={box} data-stacked={isStacked || undefined} className="stackable">
      <table role="table" aria-label={label} className="w-full border-collapse text-left">
        <thead role="rowgroup" className="border-b border-line text-xs text-muted">
          <tr role="row">
            {columns.map((column) => (
              <HeadCell key={column.name} column={column} />
            ))}
            {actions && (
              <th role="columnheader" scope="col" className="px-2 py-2">
                <span className="sr-only">{actions.name}</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody role="rowgroup" className="divide-y divide-line">
          {items.map((item) => {
            const more = below?.(item);
            return (
              <Fragment key={keyOf(item)}>
                <tr role="row" className={rowClassName?.(item)}>
                  {columns.map((column, index) => (
                    <Cell key={column.name} column={column} item={item} isHead={index === 0} />
                  ))}
                  {actions && (
                    <td role="cell" data-actions className={clsx('px-2 py-2.5 text-right', EDGES)}>
                      {actions.cell(item)}
                    </td>
                  )}
                </tr>
                {more && (
                  <tr role="row" className="bg-sunken/50">
                    <td role="cell" data-below colSpan={columns.length + (actions ? 1 : 0)}>
                      {more}
                    </td>
                  </tr>
                )}
              </Fragment>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function HeadCell<Item>({ column }: { column: Column<Item> }) {
  const { name, numeric, sort, className } = column;
  return (
    <th
      role="columnheader"
      scope="col"
      aria-sort={sort && ariaSort(sort)}
      className={clsx(
        'px-2 py-2 font-medium whitespace-nowrap',
        EDGES,
        numeric && 'text-right',
        className,
      )}
    >
      {sort ? <SortButton sort={sort}>{name}</SortButton> : name}
    </th>
  );
}

function ariaSort({ direction }: Sorting) {
  if (!direction) return undefined;
  return direction === 'asc' ? ('ascending' as const) : ('descending' as const);
}

function SortButton({ sort, children }: { sort: Sorting; children: ReactNode }) {
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

interface CellProps<Item> {
  column: Column<Item>;
  item: Item;
  /** It names the row. */
  isHead: boolean;
}

function Cell<Item>({ column, item, isHead }: CellProps<Item>) {
  const { name, cell, numeric, wraps, className } = column;
  const look = clsx(
    'px-2 py-2.5 font-normal',
    EDGES,
    wraps ? 'min-w-40 wrap-anywhere' : 'whitespace-nowrap',
    numeric && 'text-right tabular-nums',
    className,
  );
  if (isHead) {
    return (
      <th role="rowheader" scope="row" className={look}>
        {cell(item)}
      </th>
    );
  }
  return (
    <td role="cell" data-name={name} className={look}>
      <div>{cell(item)}</div>
    </td>
  );
}
