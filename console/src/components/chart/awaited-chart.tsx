import { createElement, useEffect, useState, type ComponentProps } from 'react';

import { Skeleton } from '@/components/ui/skeleton';

// Recharts is as large as everything else together: on its way while the numbers are, and
// nothing waits for it but the charts.
const loading = import('./time-chart');
type Loaded = Awaited<typeof loading>;
let loaded: Loaded | null = null;
loading.then(
  (it) => {
    loaded = it;
  },
  () => {}, // who needs it says what went wrong
);

/**
 * A chart over time, as soon as there can be one. Not `lazy`: React shows what that has waited
 * for 300 ms later at the earliest.
 */
export function AwaitedChart(props: ComponentProps<Loaded['TimeChart']>) {
  const [chart, setChart] = useState<Loaded | { error: unknown } | null>(loaded);
  useEffect(() => {
    loading.then(setChart, (error: unknown) => setChart({ error }));
  }, []);
  if (!chart) return <Skeleton className="h-64" />;
  if ('error' in chart) throw chart.error;
  return createElement(chart.TimeChart, props);
}
