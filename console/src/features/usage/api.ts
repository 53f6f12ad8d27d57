import { infiniteQueryOptions, keepPreviousData, queryOptions } from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import type { Bucket, UsageReport } from '@/api/schema';

import type { Asked } from './filters';

export type SeriesBy = 'provider' | 'model';

/** As long as a range still grows; quietly, because what was shown stays until then. */
const refreshed = (isCurrent: boolean) => ({
  refetchInterval: isCurrent ? 5_000 : (false as const),
  placeholderData: keepPreviousData,
});

export const usageQuery = ({ query, isCurrent }: Asked) =>
  queryOptions({
    queryKey: ['usage', query],
    queryFn: ({ signal }) => answered(api.GET('/admin/usage', { params: { query }, signal })),
    ...refreshed(isCurrent),
  });

/** What is in a report under one label, over time. */
export interface UsageSeries {
  label: string;
  buckets: Bucket[];
}

/** More would have no textures of their own. */
const MAX_SERIES = 7;

/** The labels of a report, the largest first. */
function labelsOf(report: UsageReport, by: SeriesBy): string[] {
  const labels =
    by === 'provider'
      ? report.by_provider.map(({ provider }) => provider)
      : report.by_model.map(({ model_id }) => model_id).filter(Boolean);
  return labels.slice(0, MAX_SERIES);
}

/** A report split by label: each is asked for by itself. */
export const usageSeriesQuery = (
  { query, isCurrent }: Asked,
  report: UsageReport,
  by: SeriesBy,
) => {
  const labels = labelsOf(report, by);
  return queryOptions({
    queryKey: ['usage', 'series', by, labels, query],
    queryFn: ({ signal }): Promise<UsageSeries[]> =>
      Promise.all(
        labels.map(async (label) => {
          const only = { ...query, [by]: label };
          const request = api.GET('/admin/usage', { params: { query: only }, signal });
          return { label, buckets: (await answered(request)).buckets };
        }),
      ),
    ...refreshed(isCurrent),
  });
};

/** What was used with each of some keys. */
export const keyTotalsQuery = ({ query, isCurrent }: Asked, access_key_ids: string[]) =>
  queryOptions({
    queryKey: ['usage', 'access-keys', access_key_ids, query],
    queryFn: ({ signal }) =>
      Promise.all(
        access_key_ids.map(async (access_key_id) => {
          const only = { ...query, access_key_id };
          const request = api.GET('/admin/usage', { params: { query: only }, signal });
          return { access_key_id, ...(await answered(request)).totals };
        }),
      ),
    ...refreshed(isCurrent),
  });

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

export const requestsQuery = ({ query: { bucket_type: _, ...query }, isCurrent }: Asked) =>
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
