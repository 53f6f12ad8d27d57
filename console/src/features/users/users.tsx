import { useQuery } from '@tanstack/react-query';
import { Plus, SearchX, UserPlus } from 'lucide-react';
import { useCallback, useState } from 'react';
import { Navigate, useSearchParams } from 'react-router';

import type { UserStatus } from '@/api/schema';
import { Button } from '@/components/ui/button';
import { Empty } from '@/components/ui/empty';
import { Field, Select } from '@/components/ui/field';
import { Page } from '@/components/ui/page';
import { Pager } from '@/components/ui/pager';
import { Problem } from '@/components/ui/problem';
import { SearchField } from '@/components/ui/search';
import { Skeleton } from '@/components/ui/skeleton';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { usersQuery } from './api';
import {
  lastPage,
  PAGE,
  readListSearch,
  usersQueryOf,
  withListSearch,
  type ListSearch,
} from './list-search';
import { CreateUser } from './user-form';
import { UsersTable } from './users-table';

export function Users() {
  const { users: says, actions } = useMessages();
  const formats = useFormats();
  const [params, setParams] = useSearchParams();
  const search = readListSearch(params);
  const query = useQuery(usersQuery(usersQueryOf(search)));
  const [isCreating, setCreating] = useState(false);
  const onSearch = useCallback(
    (change: Partial<ListSearch>) => setParams((before) => withListSearch(before, change)),
    [setParams],
  );
  const onType = useCallback((text: string) => onSearch({ search: text }), [onSearch]);
  const page = query.data;
  const isFiltered = search.search !== '' || search.status !== null;

  const create = (
    <Button variant="primary" onClick={() => setCreating(true)}>
      <Plus aria-hidden />
      {says.create}
    </Button>
  );

  function list() {
    if (!page) {
      return query.error ? (
        <Problem error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Skeleton className="m-5 h-96" />
      );
    }
    const last = lastPage(page.total);
    if (search.offset > last && !query.isPlaceholderData) {
      const there = withListSearch(params, { offset: last });
      return <Navigate replace to={{ search: there.toString() }} />;
    }
    if (page.total === 0) {
      return isFiltered ? (
        <Empty icon={SearchX} title={says.noneFound} text={says.noneFoundText}>
          <Button onClick={() => onSearch({ search: '', status: null })}>{actions.clear}</Button>
        </Empty>
      ) : (
        <Empty icon={UserPlus} title={says.empty} text={says.emptyText}>
          {create}
        </Empty>
      );
    }
    return (
      <div className={query.isPlaceholderData ? 'opacity-60' : undefined}>
        <UsersTable users={page.items} search={search} onSearch={onSearch} />
        <Pager
          offset={search.offset}
          limit={PAGE}
          total={page.total}
          onMove={(offset) => onSearch({ offset })}
        />
      </div>
    );
  }

  return (
    <Page title={says.title} text={page && says.count(formats.count(page.total))} aside={create}>
      <div className="flex flex-wrap items-center gap-2">
        <SearchField label={says.search} value={search.search} onSearch={onType} />
        <StatusFilter value={search.status} onChange={(status) => onSearch({ status })} />
      </div>
      <div className="rounded-xl border border-line bg-surface shadow-card">{list()}</div>
      {isCreating && <CreateUser onClose={() => setCreating(false)} />}
    </Page>
  );
}

interface StatusFilterProps {
  value: UserStatus | null;
  onChange: (status: UserStatus | null) => void;
}

function StatusFilter({ value, onChange }: StatusFilterProps) {
  const { users: says, userStatus } = useMessages();
  return (
    <Field label={says.status} hideLabel className="w-32">
      <Select
        value={value ?? ''}
        onChange={({ target }) => onChange((target.value || null) as UserStatus | null)}
      >
        <option value="">{says.allStatuses}</option>
        {Object.entries(userStatus).map(([status, name]) => (
          <option key={status} value={status}>
            {name}
          </option>
        ))}
      </Select>
    </Field>
  );
}
