import type { UsageReport } from '@/api/schema';
import { AwaitedChart } from '@/components/chart/awaited-chart';
import { ChartCard, type ChartTable } from '@/components/chart/chart-card';
import { cumulative, OTHER, timeline, type Timeline } from '@/components/chart/timeline';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { measures, type Measure } from './measures';
import { useLabels, type UsedKey } from './use-labels';

interface OverTimeProps {
  measure: Measure;
  report: UsageReport;
  /** Which may be among what it is stacked by. */
  keys: UsedKey[];
  isCumulative: boolean;
  className?: string;
}

/** One measure over time, stacked as the report is. */
export function OverTime({ measure, report, keys, isCumulative, className }: OverTimeProps) {
  const { chart } = useMessages();
  const formats = useFormats();
  const now = useNow();
  const labels = useLabels(keys);
  const { of, format, tick } = measures[measure];
  const bucket = report.bucket_type;

  const periods = timeline({
    bucket,
    from: new Date(report.from),
    to: new Date(report.to),
    now,
    zone: report.timezone,
    total: report.buckets.map((it) => ({ start: it.bucket_start, value: of(it) })),
    series: report.series.map(({ label, buckets }) => ({
      key: label,
      amounts: buckets.map((it) => ({ start: it.bucket_start, value: of(it) })),
    })),
  });
  const shown = isCumulative ? cumulative(periods) : periods;
  const by = report.stack_by ?? 'provider';
  const label = (key: string) => (key === OTHER ? chart.other : labels[by](key));
  return (
    <ChartCard
      title={chart[measure]}
      text={isCumulative ? chart.cumulative : chart.perBucket[bucket]}
      name={`${measure}_${report.from.slice(0, 10)}_${report.to.slice(0, 10)}`}
      table={tableOf(shown, label, (start) => formats.bucket(bucket, start), format(formats))}
      className={className}
    >
      <AwaitedChart
        title={chart[measure]}
        timeline={shown}
        bucket={bucket}
        isCumulative={isCumulative}
        label={label}
        format={format(formats)}
        tick={tick(formats)}
      />
    </ChartCard>
  );

  function tableOf(
    { keys, points }: Timeline,
    name: (key: string) => string,
    time: (start: Date) => string,
    shownAs: (value: number) => string,
  ): ChartTable {
    const number = { format: (value: string | number) => shownAs(Number(value)) };
    return {
      columns: [
        {
          name: chart.time,
          format: (at) => time(new Date(at)) + (isRunning(at) ? ` (${chart.running})` : ''),
        },
        ...keys.map((key) => ({ name: name(key), ...number })),
        { name: chart.total, ...number },
      ],
      rows: points.map(({ start, values }) => {
        const parts = keys.map((key) => values[key] ?? 0);
        return [start.toISOString(), ...parts, parts.reduce((sum, part) => sum + part, 0)];
      }),
    };
    function isRunning(at: string | number) {
      return points.find(({ start }) => start.toISOString() === at)?.isRunning;
    }
  }
}
