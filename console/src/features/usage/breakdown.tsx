import type { ReactNode } from 'react';

import { BarList } from '@/components/chart/bar-list';
import { ChartCard } from '@/components/chart/chart-card';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import type { Totals } from '@/api/schema';
import type { Measured } from './measures';

type Part = Measured &
  Pick<Totals, 'unpriced_requests'> & {
    key: string;
    label: string;
    name?: ReactNode;
  };

interface BreakdownProps {
  title: string;
  /** What a part is called: a model, a key, a user. */
  heading: string;
  /** Of the downloaded file. */
  name: string;
  parts: Part[];
  total: Pick<Measured, 'estimated_cost_usd'>;
}

/** What a sum is made of, by cost. */
export function Breakdown({ title, heading, name, parts, total }: BreakdownProps) {
  const { chart } = useMessages();
  const formats = useFormats();
  const count = (value: string | number) => formats.count(Number(value));
  return (
    <ChartCard
      title={title}
      text={chart.cost}
      name={name}
      table={{
        columns: [
          { name: heading },
          { name: chart.cost, format: formats.usd },
          { name: chart.tokens, format: count },
          { name: chart.requests, format: count },
          { name: chart.unpriced, format: count },
        ],
        rows: parts.map((part) => [
          part.label,
          Number(part.estimated_cost_usd),
          part.total_tokens,
          part.requests,
          part.unpriced_requests,
        ]),
      }}
    >
      <BarList
        total={Number(total.estimated_cost_usd)}
        items={parts.slice(0, 8).map((part) => ({
          key: part.key,
          name: part.name ?? part.label,
          value: Number(part.estimated_cost_usd),
          shown: formats.usd(part.estimated_cost_usd),
        }))}
      />
    </ChartCard>
  );
}
