import type { UsageReport } from '@/api/schema';
import { BarList } from '@/components/chart/bar-list';
import { ChartCard } from '@/components/chart/chart-card';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { useLabels } from './use-labels';

export function Outcomes({ report }: { report: UsageReport }) {
  const { chart } = useMessages();
  const formats = useFormats();
  const labels = useLabels();
  const outcomes = report.by_outcome.map((it) => ({ ...it, label: labels.outcome(it.outcome) }));
  return (
    <ChartCard
      title={chart.outcomes}
      text={chart.requests}
      name="outcomes"
      table={{
        columns: [
          { name: chart.outcomes },
          { name: chart.requests, format: (value) => formats.count(Number(value)) },
        ],
        rows: outcomes.map(({ label, requests }) => [label, requests]),
      }}
    >
      <BarList
        total={report.totals.requests}
        items={outcomes.map(({ outcome, label, requests }) => ({
          key: outcome,
          name: label,
          value: requests,
          shown: formats.count(requests),
        }))}
      />
    </ChartCard>
  );
}
