/** Buckets as a chart needs them: none missing, split into series, with the rest as one more. */

import type { BucketType } from '@/api/schema';
import { bucketStarts, nextStart } from '@/formats/zone';

export interface Point {
  start: Date;
  /** It has not ended, so its values still grow. */
  isRunning: boolean;
  values: Record<string, number>;
}

export interface Timeline {
  /** Of the series, in the order in which they are stacked. */
  keys: string[];
  points: Point[];
}

/** The key of what is in no series. */
export const OTHER = 'other';

interface Amount {
  start: string;
  value: number;
}

interface Input {
  bucket: BucketType;
  from: Date;
  to: Date;
  now: Date;
  zone: string;
  total: Amount[];
  series: { key: string; amounts: Amount[] }[];
}

export function timeline({ bucket, from, to, now, zone, total, series }: Input): Timeline {
  const end = to < now ? to : now;
  const totals = byTime(total);
  const columns = series.map(({ key, amounts }) => ({ key, values: byTime(amounts) }));
  const points = bucketStarts(bucket, from, end, zone).map((start) => {
    const at = start.getTime();
    const values: Record<string, number> = {};
    let rest = totals.get(at) ?? 0;
    for (const column of columns) {
      const value = column.values.get(at) ?? 0;
      values[column.key] = value;
      rest -= value;
    }
    // Differences of sums of fractions are hardly ever nothing.
    values[OTHER] = rest > 1e-6 ? rest : 0;
    return { start, isRunning: nextStart(bucket, start, zone) > now, values };
  });
  const keys = columns.map(({ key }) => key);
  if (points.some(({ values }) => values[OTHER])) keys.push(OTHER);
  return { keys, points };
}

/** Each value with all that came before it. */
export function cumulative({ keys, points }: Timeline): Timeline {
  const sums: Record<string, number> = {};
  return {
    keys,
    points: points.map((point) => {
      for (const key of keys) sums[key] = (sums[key] ?? 0) + (point.values[key] ?? 0);
      return { ...point, values: { ...sums } };
    }),
  };
}

function byTime(amounts: Amount[]): Map<number, number> {
  return new Map(amounts.map(({ start, value }) => [new Date(start).getTime(), value]));
}
