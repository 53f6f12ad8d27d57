import type { UsageReport } from '@/api/schema';
import { Unpriced } from '@/components/unpriced';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

/** The range in six numbers. */
export function Figures({ report }: { report: UsageReport }) {
  const { figures: says, state } = useMessages();
  const formats = useFormats();
  const { totals, by_provider, by_outcome, fallback_rate, cache_hit_ratio } = report;
  const bedrock = by_provider.find(({ provider }) => provider === 'bedrock');
  const plan = by_provider.find(({ provider }) => provider === 'plan');
  const complete = by_outcome.find(({ outcome }) => outcome === 'complete')?.requests ?? 0;
  const share = (value: number | null | undefined) =>
    value === null || value === undefined ? state.none : formats.percent(value);
  return (
    <div className="space-y-3">
      <dl className="grid grid-cols-2 gap-3 md:grid-cols-3 2xl:grid-cols-6">
        <Figure
          name={says.cost}
          value={formats.usd(totals.estimated_cost_usd)}
          note={says.costNote(formats.usd(bedrock?.estimated_cost_usd ?? 0))}
        />
        <Figure
          name={says.tokens}
          value={formats.compact(totals.total_tokens)}
          note={says.tokensNote(
            formats.compact(totals.input_tokens),
            formats.compact(totals.output_tokens),
          )}
        />
        <Figure
          name={says.requests}
          value={formats.count(totals.requests)}
          note={says.requestsNote(formats.count(totals.requests - complete))}
        />
        <Figure
          name={says.fallbackRate}
          value={share(fallback_rate)}
          note={says.fallbackNote(formats.count(totals.fallback_requests))}
        />
        <Figure
          name={says.cacheHitRatio}
          value={share(cache_hit_ratio)}
          note={says.cacheNote(formats.compact(totals.cache_read_tokens))}
        />
        <Figure
          name={says.saved}
          value={formats.usd(plan?.bedrock_cost_usd ?? 0)}
          note={says.savedNote}
        />
      </dl>
      <Unpriced requests={totals.unpriced_requests} />
    </div>
  );
}

function Figure({ name, value, note }: { name: string; value: string; note: string }) {
  return (
    <div className="min-w-0 rounded-xl border border-line bg-surface px-4 py-3 shadow-card">
      <dt className="text-xs font-medium text-muted">{name}</dt>
      <dd className="mt-1 text-xl font-semibold tracking-tight tabular-nums xs:text-2xl">
        {value}
      </dd>
      <dd className="mt-0.5 text-xs text-muted">{note}</dd>
    </div>
  );
}
