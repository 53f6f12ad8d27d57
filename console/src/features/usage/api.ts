import {
  infiniteQueryOptions,
  keepPreviousData,
  queryOptions,
  useMutation,
} from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import { save } from '@/components/chart/csv';

import type { Asked } from './filters';

/** As long as a range still grows; quietly, because what was shown stays until then. */
const refreshed = (isCurrent: boolean) => ({
  refetchInterval: isCurrent ? 5_000 : (false as const),
  placeholderData: keepPreviousData,
});

export const usageQuery = ({ query: range, bucket, stack_by, isCurrent }: Asked) => {
  const query = { ...range, bucket_type: bucket, stack_by };
  return queryOptions({
    queryKey: ['usage', query],
    queryFn: ({ signal }) => answered(api.GET('/admin/usage', { params: { query }, signal })),
    ...refreshed(isCurrent),
  });
};

export const topUsersQuery = ({ query, isCurrent }: Asked) =>
  queryOptions({
    queryKey: ['usage', 'top-users', query],
    queryFn: ({ signal }) =>
      answered(
        api.GET('/admin/usage/top-users', {
          params: { query: { ...query, order_by: 'cost', limit: 8 } },
          signal,
        }),
      ),
    ...refreshed(isCurrent),
  });

const REQUESTS_PAGE = 20;

export const requestsQuery = ({ query, isCurrent }: Asked) =>
  infiniteQueryOptions({
    queryKey: ['usage', 'requests', query],
    queryFn: ({ pageParam: cursor, signal }) =>
      answered(
        api.GET('/admin/usage/requests', {
          params: { query: { ...query, limit: REQUESTS_PAGE, ...(cursor && { cursor }) } },
          signal,
        }),
      ),
    initialPageParam: '',
    getNextPageParam: ({ next_cursor }) => next_cursor,
    ...refreshed(isCurrent),
  });

/** Every request as a file. What a download is refused with nobody would see: that is met before. */
export function useExport() {
  return useMutation({
    mutationFn: async ({ query }: Asked) => {
      const request = api.GET('/admin/usage/export', { params: { query }, parseAs: 'stream' });
      const rows = await answered(request);
      await rows?.cancel();
      save(`/admin/usage/export?${new URLSearchParams(query)}`);
    },
  });
}
