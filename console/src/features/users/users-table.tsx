import { Link } from 'react-router';

import type { User } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Meter } from '@/components/ui/meter';
import { Table } from '@/components/ui/table';
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
  const { users: says, actions, state } = useMessages();
  const formats = useFormats();
  const now = useNow();
  const sort = (column: Sort) => ({
    direction: search.sort === column ? search.order : null,
    onSort: () => onSearch(sortedBy(column, search)),
  });
  return (
    <Table
      label={says.title}
      items={users}
      keyOf={({ id }) => id}
      rowClassName={() => 'hover:bg-sunken/50'}
      columns={[
        {
          name: says.name,
          sort: sort('name'),
          wraps: true,
          className: 'max-w-72',
          cell: (user) => <Named user={user} />,
        },
        { name: says.status, cell: (user) => <Badges user={user} /> },
        {
          name: says.budget,
          sort: sort('usage_percentage'),
          className: 'w-1/4 min-w-44',
          cell: (user) => <Budget user={user} />,
        },
        {
          name: says.keys,
          numeric: true,
          cell: ({ active_access_keys }) => formats.count(active_access_keys),
        },
        {
          name: says.lastSeen,
          sort: sort('last_seen_at'),
          cell: ({ last_seen_at }) =>
            last_seen_at ? (
              <span title={formats.exactTime(last_seen_at)}>{formats.ago(last_seen_at, now)}</span>
            ) : (
              state.never
            ),
        },
        {
          name: says.createdAt,
          sort: sort('created_at'),
          cell: ({ created_at }) => formats.date(created_at),
        },
      ]}
      actions={{ name: actions.more, cell: (user) => <UserActions user={user} /> }}
    />
  );
}

function Named({ user: { id, name, description } }: { user: User }) {
  return (
    <>
      <Link to={`/users/${id}`} className="block font-medium hover:underline">
        {name}
      </Link>
      {description && <span className="block text-xs text-muted">{description}</span>}
    </>
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
      <p className="flex flex-wrap justify-between gap-x-2 text-xs text-muted tabular-nums">
        <span>{says.spent(spent)}</span>
        <span>{says.noBudget}</span>
      </p>
    );
  }
  const percent = user.usage_percentage ?? 0;
  const used = says.used(spent, formats.usd(user.monthly_budget_usd));
  return (
    <>
      <p className="mb-1 flex flex-wrap justify-between gap-x-2 text-xs tabular-nums">
        <span>{used}</span>
        <span className={user.is_exhausted ? 'font-medium text-bad' : 'text-muted'}>
          {user.is_exhausted ? says.exhausted : formats.percent(percent / 100)}
        </span>
      </p>
      <Meter label={used} percent={percent} />
    </>
  );
}
