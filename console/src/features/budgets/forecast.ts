/** What a month will have cost, if it goes on as it began. */

import type { UserBudget } from '@/api/schema';

export type Forecast =
  | { kind: 'exhausted' | 'idle' | 'too_early' }
  /** `amount` is for the whole month. */
  | { kind: 'unlimited' | 'lasts'; amount: number }
  | { kind: 'used_up'; at: Date };

type Standing = Pick<
  UserBudget,
  'monthly_budget_usd' | 'current_usage_usd' | 'is_exhausted' | 'period_start' | 'period_end'
>;

const DAY_MS = 86_400_000;

export function forecast(budget: Standing, now: Date): Forecast {
  const spent = Number(budget.current_usage_usd);
  if (budget.is_exhausted) return { kind: 'exhausted' };
  if (spent === 0) return { kind: 'idle' };
  const start = new Date(budget.period_start).getTime();
  const end = new Date(budget.period_end).getTime();
  const elapsed = now.getTime() - start;
  if (elapsed < DAY_MS) return { kind: 'too_early' };
  const perMs = spent / elapsed;
  const amount = perMs * (end - start);
  if (!budget.monthly_budget_usd) return { kind: 'unlimited', amount };
  const limit = Number(budget.monthly_budget_usd);
  if (amount <= limit) return { kind: 'lasts', amount };
  return { kind: 'used_up', at: new Date(start + limit / perMs) };
}
