import { Link } from 'react-router';

import type { User } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Meter } from '@/components/ui/meter';
import { Cell, HeadCell, RowHead, Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { sortedBy, type ListSearch, type Sort } from './list-search';
import { UserActions } from './user-actions';

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
          <HeadCell sort={sort('name')}>{says.name}</HeadCell>
          <HeadCell>{says.status}</HeadCell>
          <HeadCell sort={sort('usage_percentage')} className="w-1/4 min-w-44">
            {says.budget}
          </HeadCell>
          <HeadCell numeric>{says.keys}</HeadCell>
          <HeadCell sort={sort('last_seen_at')}>{says.lastSeen}</HeadCell>
          <HeadCell sort={sort('created_at')}>{says.createdAt}</HeadCell>
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
  const { state, userStatus, routing } = useMessages();
  const formats = useFormats();
  const now = useNow();
  return (
    <tr className="hover:bg-sunken/50">
      <RowHead className="max-w-72 min-w-40">
        <Link to={`/users/${user.id}`} className="block truncate font-medium hover:underline">
          {user.name}
        </Link>
        {user.description && (
          <span className="block truncate text-xs text-muted">{user.description}</span>
        )}
      </RowHead>
      <Cell className="whitespace-nowrap">
        <Badge tone={user.status === 'active' ? 'good' : 'neutral'}>
          {userStatus[user.status]}
        </Badge>{' '}
        {user.routing_strategy === 'bedrock_only' && <Badge>{routing.strategy.bedrock_only}</Badge>}
      </Cell>
      <Cell>
        <Budget user={user} />
      </Cell>
      <Cell numeric>{formats.count(user.active_access_keys)}</Cell>
      <Cell
        className="whitespace-nowrap"
        title={user.last_seen_at ? formats.exactTime(user.last_seen_at) : undefined}
      >
        {user.last_seen_at ? formats.ago(user.last_seen_at, now) : state.never}
      </Cell>
      <Cell className="whitespace-nowrap">{formats.date(user.created_at)}</Cell>
      <Cell className="text-right">
        <UserActions user={user} />
      </Cell>
    </tr>
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
