import { Link } from 'react-router';

import type { User } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Meter } from '@/components/ui/meter';
import {
  ActionsCell,
  ariaSort,
  Cell,
  HeadCell,
  RowHead,
  SortButton,
  Table,
} from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { sortedBy, type ListSearch, type Sort } from './list-search';
import { UserActions } from './user-actions';

/** On a narrow screen these are said below the name. */
const WIDE = 'max-md:hidden';
const NARROW = 'md:hidden';

interface UsersTableProps {
  users: User[];
  search: ListSearch;
  onSearch: (change: Partial<ListSearch>) => void;
}

export function UsersTable({ users, search, onSearch }: UsersTableProps) {
  const { users: says, actions } = useMessages();
  const sort = (column: Sort) => ({
    direction: search.sort === column ? search.order : null,
    onSort: () => onSearch(sortedBy(column, search)),
  });
  return (
    <Table
      label={says.title}
      head={
        <>
          <HeadCell aria-sort={ariaSort(sort('name'))}>
            <SortButton sort={sort('name')}>{says.name}</SortButton>
            <span className={`${NARROW} ml-2 space-x-2`}>
              <SortButton sort={sort('usage_percentage')}>{says.budget}</SortButton>
              <SortButton sort={sort('last_seen_at')}>{says.lastSeen}</SortButton>
            </span>
          </HeadCell>
          <HeadCell className={WIDE}>{says.status}</HeadCell>
          <HeadCell sort={sort('usage_percentage')} className={`${WIDE} w-1/4 min-w-44`}>
            {says.budget}
          </HeadCell>
          <HeadCell numeric className={WIDE}>
            {says.keys}
          </HeadCell>
          <HeadCell sort={sort('last_seen_at')} className={WIDE}>
            {says.lastSeen}
          </HeadCell>
          <HeadCell sort={sort('created_at')} className={WIDE}>
            {says.createdAt}
          </HeadCell>
          <HeadCell>
            <span className="sr-only">{actions.more}</span>
          </HeadCell>
        </>
      }
    >
      {users.map((user) => (
        <UserRow key={user.id} user={user} />
      ))}
    </Table>
  );
}

function UserRow({ user }: { user: User }) {
  const { users: says, state } = useMessages();
  const formats = useFormats();
  const now = useNow();
  const lastSeen = user.last_seen_at ? formats.ago(user.last_seen_at, now) : state.never;
  return (
    <tr className="hover:bg-sunken/50">
      <RowHead className="max-w-72 min-w-40 max-md:w-full">
        <Link to={`/users/${user.id}`} className="block truncate font-medium hover:underline">
          {user.name}
        </Link>
        {user.description && (
          <span className="block truncate text-xs text-muted">{user.description}</span>
        )}
        <div className={`${NARROW} mt-1.5 space-y-1.5`}>
          <Badges user={user} />
          <p className="flex justify-between gap-2 text-xs whitespace-nowrap text-muted">
            <span>{says.keyCount(user.active_access_keys)}</span>
            <span>{lastSeen}</span>
          </p>
          <Budget user={user} />
        </div>
      </RowHead>
      <Cell className={`${WIDE} whitespace-nowrap`}>
        <Badges user={user} />
      </Cell>
      <Cell className={WIDE}>
        <Budget user={user} />
      </Cell>
      <Cell numeric className={WIDE}>
        {formats.count(user.active_access_keys)}
      </Cell>
      <Cell
        className={`${WIDE} whitespace-nowrap`}
        title={user.last_seen_at ? formats.exactTime(user.last_seen_at) : undefined}
      >
        {lastSeen}
      </Cell>
      <Cell className={`${WIDE} whitespace-nowrap`}>{formats.date(user.created_at)}</Cell>
      <ActionsCell className="max-md:align-top">
        <UserActions user={user} />
      </ActionsCell>
    </tr>
  );
}

function Badges({ user }: { user: User }) {
  const { userStatus, routing } = useMessages();
  return (
    <p>
      <Badge tone={user.status === 'active' ? 'good' : 'neutral'}>{userStatus[user.status]}</Badge>{' '}
      {user.routing_strategy === 'bedrock_only' && <Badge>{routing.strategy.bedrock_only}</Badge>}
    </p>
  );
}

function Budget({ user }: { user: User }) {
  const { users: says } = useMessages();
  const formats = useFormats();
  const spent = formats.usd(user.current_usage_usd);
  if (!user.monthly_budget_usd) {
    return (
      <p className="flex justify-between gap-2 text-xs text-muted tabular-nums">
        <span>{says.spent(spent)}</span>
        <span>{says.noBudget}</span>
      </p>
    );
  }
  const percent = user.usage_percentage ?? 0;
  const used = says.used(spent, formats.usd(user.monthly_budget_usd));
  return (
    <>
      <p className="mb-1 flex justify-between gap-2 text-xs whitespace-nowrap tabular-nums">
        <span>{used}</span>
        <span className={user.is_exhausted ? 'font-medium text-bad' : 'text-muted'}>
          {user.is_exhausted ? says.exhausted : formats.percent(percent / 100)}
        </span>
      </p>
      <Meter label={used} percent={percent} />
    </>
  );
}
