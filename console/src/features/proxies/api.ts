import { queryOptions } from '@tanstack/react-query';

import { answered, api } from '@/api/client';

export const proxiesQuery = queryOptions({
  queryKey: ['proxies'],
  queryFn: ({ signal }) => answered(api.GET('/admin/proxies', { signal })),
});

export const circuitsQuery = queryOptions({
  queryKey: ['circuits'],
  queryFn: ({ signal }) =>
    answered(api.GET('/admin/circuits', { params: { query: { limit: 200 } }, signal })),
});
