import type { UsageReport } from '@/api/schema';
import { useMessages } from '@/messages/messages';

import { Breakdown } from './breakdown';
import { useLabels } from './use-labels';

/** Of which models a sum is made. */
export function ModelMix({ report }: { report: UsageReport }) {
  const { chart } = useMessages();
  const labels = useLabels();
  return (
    <Breakdown
      title={chart.modelMix}
      heading={chart.byModel}
      name="models"
      parts={report.by_model.map((part) => ({
        ...part,
        key: part.model_id,
        label: labels.model(part.model_id),
      }))}
      total={report.totals}
    />
  );
}
