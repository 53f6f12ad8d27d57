import { expect, test } from 'vitest';

import { forecast } from './forecast';

const november = {
  period_start: '2026-11-01T00:00:00+09:00',
  period_end: '2026-12-01T00:00:00+09:00',
};

function of(spent: string, limit: string | null, now: string) {
  const is_exhausted = limit !== null && Number(spent) >= Number(limit);
  const budget = { current_usage_usd: spent, monthly_budget_usd: limit, is_exhausted, ...november };
  return forecast(budget, new Date(now));
}

test('half of the month has cost half', () => {
  expect(of('15', '40', '2026-11-16T00:00:00+09:00')).toEqual({ kind: 'lasts', amount: 30 });
  expect(of('15', null, '2026-11-16T00:00:00+09:00')).toEqual({ kind: 'unlimited', amount: 30 });
});

test('what does not last is used up on a day', () => {
  expect(of('15', '20', '2026-11-16T00:00:00+09:00')).toEqual({
    kind: 'used_up',
    at: new Date('2026-11-21T00:00:00+09:00'),
  });
});

test('nothing is foretold from nothing, from hours, or after the end', () => {
  expect(of('0', '20', '2026-11-16T00:00:00+09:00').kind).toBe('idle');
  expect(of('1', '20', '2026-11-01T10:00:00+09:00').kind).toBe('too_early');
  expect(of('20', '20', '2026-11-01T10:00:00+09:00').kind).toBe('exhausted');
});
