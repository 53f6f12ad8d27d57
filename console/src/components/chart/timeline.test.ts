import { expect, test } from 'vitest';

import { cumulative, OTHER, timeline } from './timeline';

const day = (date: number) => `2026-11-${date}T00:00:00Z`;

const input = {
  bucket: 'day',
  from: new Date(day(20)),
  to: new Date(day(24)),
  now: new Date('2026-11-23T08:00:00Z'),
  zone: 'UTC',
  total: [
    { start: day(20), value: 5 },
    { start: day(23), value: 2 },
  ],
  series: [{ key: 'plan', amounts: [{ start: day(20), value: 3 }] }],
} as const;

const shown = timeline({
  ...input,
  total: [...input.total],
  series: [...input.series].map((it) => ({ ...it, amounts: [...it.amounts] })),
});

test('what was not used is zero, and what is in no series is other', () => {
  expect(shown.keys).toEqual(['plan', OTHER]);
  expect(shown.points.map(({ values }) => [values.plan, values[OTHER]])).toEqual([
    [3, 2],
    [0, 0],
    [0, 0],
    [0, 2],
  ]);
});

test('only the bucket that has not ended is running', () => {
  expect(shown.points.map(({ isRunning }) => isRunning)).toEqual([false, false, false, true]);
});

test('the future has no buckets', () => {
  const later = timeline({ ...input, to: new Date('2026-12-24'), total: [], series: [] });
  expect(later.points).toHaveLength(4);
  expect(later.keys).toEqual([]);
});

test('sums include what came before', () => {
  expect(cumulative(shown).points.map(({ values }) => [values.plan, values[OTHER]])).toEqual([
    [3, 2],
    [3, 2],
    [3, 2],
    [3, 4],
  ]);
});
