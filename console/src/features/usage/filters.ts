/** What a report is asked for: kept in the address, so that it can be sent to somebody. */

import type { BucketType, operations, StackBy } from '@/api/schema';
import { dayOf, startOf, startOfDay } from '@/formats/zone';

type UsageQuery = Omit<
  NonNullable<operations['read_usage']['parameters']['query']>,
  'bucket_type' | 'stack_by'
>;

export const RANGES = ['day', 'week', 'month', 'custom'] as const;
export type Range = (typeof RANGES)[number];

const PROVIDERS = ['plan', 'bedrock', 'none'] as const;
export type Provider = (typeof PROVIDERS)[number];

const STACKS = ['provider', 'model', 'access_key'] as const satisfies StackBy[];
export type Stack = (typeof STACKS)[number];

export interface Filters {
  range: Range;
  /** First and last day of a custom range. */
  from: string | null;
  to: string | null;
  user_id: string | null;
  access_key_id: string | null;
  model: string | null;
  provider: Provider | null;
  /** What charts are stacked by; by access key those of a user only. */
  by: Stack;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A day that there is: 30 February would be taken for one in March. */
function isDate(text: string | null): text is string {
  if (text === null || !/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const date = new Date(text);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

export function readFilters(search: URLSearchParams): Filters {
  const oneOf = <Value extends string>(name: string, values: readonly Value[]) =>
    values.find((value) => value === search.get(name)) ?? null;
  const date = (name: string) => {
    const text = search.get(name);
    return isDate(text) ? text : null;
  };
  const range = oneOf('range', RANGES) ?? 'week';
  const by = oneOf('by', STACKS) ?? 'provider';
  return {
    range,
    from: range === 'custom' ? date('from') : null,
    to: range === 'custom' ? date('to') : null,
    user_id: search.get('user_id'),
    access_key_id: search.get('user_id') && search.get('access_key_id'),
    model: search.get('model'),
    provider: oneOf('provider', PROVIDERS),
    by: by === 'access_key' && !search.get('user_id') ? 'provider' : by,
  };
}

/** Another search with these filters; what is null is left out. */
export function withFilters(search: URLSearchParams, change: Partial<Filters>): URLSearchParams {
  const next = new URLSearchParams(search);
  for (const [name, value] of Object.entries(change)) {
    if (value === null) next.delete(name);
    else next.set(name, value);
  }
  return next;
}

export interface Asked {
  query: UsageQuery;
  bucket: BucketType;
  stack_by: Stack;
  /** Whether it still grows. */
  isCurrent: boolean;
}

/** The range in whole buckets, and the filters, as the API takes them. */
export function asked(filters: Filters, now: Date, zone: string): Asked {
  const { user_id, access_key_id, model, provider, by } = filters;
  const only = {
    ...(user_id && { user_id }),
    ...(access_key_id && { access_key_id }),
    ...(model && { model }),
    ...(provider && { provider }),
  };
  const ask = (range: UsageQuery, bucket: BucketType, isCurrent: boolean): Asked => ({
    query: { ...range, ...only },
    bucket,
    stack_by: by,
    isCurrent,
  });
  const today = dayOf(now, zone);
  const daysUntilToday = (days: number) =>
    ask({ start_date: dayOf(now, zone, 1 - days), end_date: today }, 'day', true);

  switch (filters.range) {
    case 'day': {
      const from = startOf('hour', new Date(now.getTime() - 23 * HOUR_MS), zone);
      return ask({ from: from.toISOString() }, 'hour', true);
    }
    case 'week':
      return daysUntilToday(7);
    case 'month':
      return daysUntilToday(30);
    case 'custom': {
      const [first = today, last = today] = [filters.from ?? today, filters.to ?? today].sort();
      const length = startOfDay(last, zone).getTime() - startOfDay(first, zone).getTime() + DAY_MS;
      return ask({ start_date: first, end_date: last }, bucketFor(length / DAY_MS), last >= today);
    }
  }
}

/** The same of all models: only there are the others that can be chosen. */
export function ofAllModels({ query, ...rest }: Asked): Asked {
  const { model: _chosen, ...others } = query;
  return { ...rest, query: others };
}

/** A few dozen bars, whatever the range. */
function bucketFor(days: number): BucketType {
  if (days <= 2.1) return 'hour';
  if (days <= 62) return 'day';
  return days <= 366 ? 'week' : 'month';
}
