import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { answered, api } from '@/api/client';

export const proxiesQuery = queryOptions({
  queryKey: ['proxies'],
  queryFn: ({ signal }) => answered(api.GET('/admin/proxies', { signal })),
});

export const circuitsQuery = infiniteQueryOptions({
  queryKey: ['circuits'],
  queryFn: ({ pageParam: cursor, signal }) =>
    answered(
      api.GET('/admin/circuits', { params: { query: { ...(cursor && { cursor }) } }, signal }),
    ),
  initialPageParam: '',
  getNextPageParam: ({ next_cursor }) => next_cursor,
});
