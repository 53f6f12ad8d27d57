import { later } from '@/components/later';
import { Skeleton } from '@/components/ui/skeleton';

/**
 * A chart over time, as soon as there can be one: Recharts is as large as everything else
 * together, so only where there are charts it is loaded, and nothing waits for it but they.
 */
export const AwaitedChart = later(
  () => import('./time-chart').then((it) => it.TimeChart),
  <Skeleton className="h-64" />,
);
