/** How the list of users is searched, sorted and paged: kept in the address. */

import type { UserStatus } from '@/api/schema';

import type { UsersQuery } from './api';

const SORTS = ['name', 'created_at', 'last_seen_at', 'usage_percentage'] as const;
export type Sort = (typeof SORTS)[number];

export const PAGE = 50;

export interface ListSearch {
  search: string;
  status: UserStatus | null;
  sort: Sort;
  order: 'asc' | 'desc';
  offset: number;
}

export function readListSearch(search: URLSearchParams): ListSearch {
  const sort = SORTS.find((it) => it === search.get('sort')) ?? 'created_at';
  const status = search.get('status');
  const page = Math.trunc(Number(search.get('page')));
  return {
    search: search.get('search') ?? '',
    status: status === 'active' || status === 'inactive' ? status : null,
    sort,
    order: search.get('order') === 'asc' ? 'asc' : 'desc',
    offset: page > 1 ? (page - 1) * PAGE : 0,
  };
}

/** Another address with a change. A change of anything but the page leads to the first page. */
export function withListSearch(
  before: URLSearchParams,
  change: Partial<ListSearch>,
): URLSearchParams {
  const { offset = 0, ...rest } = change;
  const next = new URLSearchParams(before);
  for (const [name, value] of Object.entries(rest)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  if (offset > 0) next.set('page', String(offset / PAGE + 1));
  else next.delete('page');
  return next;
}

/** Where the last page begins. */
export const lastPage = (total: number) => Math.floor(Math.max(0, total - 1) / PAGE) * PAGE;

/** The other way round, or this column in the order that is looked for most. */
export function sortedBy(sort: Sort, now: ListSearch): Pick<ListSearch, 'sort' | 'order'> {
  if (now.sort === sort) return { sort, order: now.order === 'asc' ? 'desc' : 'asc' };
  return { sort, order: sort === 'name' ? 'asc' : 'desc' };
}

export function usersQueryOf({ search, status, ...rest }: ListSearch): UsersQuery {
  return { ...rest, limit: PAGE, ...(search && { search }), ...(status && { status }) };
}
