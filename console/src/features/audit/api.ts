import { infiniteQueryOptions, keepPreviousData } from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import type { operations } from '@/api/schema';

export type AuditQuery = Omit<
  NonNullable<operations['list_audit_log']['parameters']['query']>,
  'cursor'
>;

export const auditQuery = (query: AuditQuery) =>
  infiniteQueryOptions({
    queryKey: ['audit-log', query],
    queryFn: ({ pageParam: cursor, signal }) =>
      answered(
        api.GET('/admin/audit-log', {
          params: { query: { ...query, ...(cursor && { cursor }) } },
          signal,
        }),
      ),
    initialPageParam: '',
    getNextPageParam: ({ next_cursor }) => next_cursor,
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  });
