import type { Totals } from '@/api/schema';
import type { Formats } from '@/formats/formats';

export const MEASURES = ['cost', 'tokens', 'requests'] as const;
export type Measure = (typeof MEASURES)[number];

/** As much of a sum as charts show. */
export type Measured = Pick<Totals, 'estimated_cost_usd' | 'total_tokens' | 'requests'>;

interface MeasureDefinition {
  of: (totals: Measured) => number;
  format: (formats: Formats) => (value: number) => string;
  /** Short, for an axis. */
  tick: (formats: Formats) => (value: number) => string;
}

/** What charts can show of a sum. */
export const measures: Record<Measure, MeasureDefinition> = {
  cost: {
    of: (totals) => Number(totals.estimated_cost_usd),
    format: ({ usd }) => usd,
    tick: ({ compactUsd }) => compactUsd,
  },
  tokens: {
    of: (totals) => totals.total_tokens,
    format: ({ count }) => count,
    tick: ({ compact }) => compact,
  },
  requests: {
    of: (totals) => totals.requests,
    format: ({ count }) => count,
    tick: ({ compact }) => compact,
  },
};
