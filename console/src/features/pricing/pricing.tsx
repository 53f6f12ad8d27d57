import { useQuery } from '@tanstack/react-query';
import { CircleCheck, RefreshCw, SearchX } from 'lucide-react';
import { useState } from 'react';

import type { ModelPrice, UnpricedModel } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Button } from '@/components/ui/button';
import { Card } from '@/components/ui/card';
import { Empty } from '@/components/ui/empty';
import { Field, Select } from '@/components/ui/field';
import { found } from '@/components/ui/found';
import { useNotify } from '@/components/ui/notices';
import { Page } from '@/components/ui/page';
import { Problem, ProblemNote } from '@/components/ui/problem';
import { SearchField } from '@/components/ui/search';
import { Skeleton } from '@/components/ui/skeleton';
import { Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { pricesQuery, useReloadPrices } from './api';

/** From when on prices are in force that have always been. */
const EVER = '1970-01-01';

export function Pricing() {
  const { pricing: says } = useMessages();
  const query = useQuery(pricesQuery);
  const notify = useNotify();
  const reload = useReloadPrices();
  const done = ({ changed, prices }: { changed: number; prices: number }) =>
    notify(says.reloaded(changed, prices));
  return (
    <Page
      title={says.title}
      text={says.text}
      aside={
        <Button
          disabled={reload.isPending}
          onClick={() => reload.mutate(undefined, { onSuccess: done })}
        >
          <RefreshCw aria-hidden />
          {reload.isPending ? says.reloading : says.reload}
        </Button>
      }
    >
      <ProblemNote error={reload.error} />
      {query.data ? (
        <>
          <Unpriced models={query.data.unpriced} />
          <PriceList prices={query.data.models} />
        </>
      ) : query.error ? (
        <Problem error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Skeleton className="h-96" />
      )}
    </Page>
  );
}

function Unpriced({ models }: { models: UnpricedModel[] }) {
  const { pricing: says, provider } = useMessages();
  const formats = useFormats();
  if (models.length === 0) {
    return (
      <p className="flex items-center gap-2 text-muted">
        <CircleCheck aria-hidden className="size-4 shrink-0 text-good" />
        {says.noneUnpriced}
      </p>
    );
  }
  return (
    <Card flush title={says.unpriced} text={says.unpricedText}>
      <Table
        label={says.unpriced}
        items={models}
        keyOf={({ provider, model_id }) => `${provider} ${model_id}`}
        columns={[
          {
            name: says.model,
            wraps: true,
            cell: ({ model_id }) => <span className="font-medium">{model_id}</span>,
          },
          {
            name: says.provider,
            cell: (it) => (it.provider === 'plan' ? provider.plan : provider.bedrock),
          },
          { name: says.requests, numeric: true, cell: (it) => formats.count(it.requests) },
          { name: says.lastUsed, numeric: true, cell: (it) => formats.dateTime(it.last_used_at) },
        ]}
      />
    </Card>
  );
}

function PriceList({ prices }: { prices: ModelPrice[] }) {
  const { pricing: says, provider: providers, dashboard } = useMessages();
  const [filter, setFilter] = useState('');
  const [provider, setProvider] = useState('');
  const [region, setRegion] = useState('');
  const regions = [...new Set(prices.map((price) => price.region))].sort();
  const shown = prices.filter(
    (price) =>
      found(price.model_id, filter) &&
      (!provider || price.provider === provider) &&
      (!region || price.region === region),
  );
  return (
    <div className="rounded-xl border border-line bg-surface shadow-card">
      <div className="flex flex-wrap gap-2 p-3 sm:px-5">
        <SearchField label={says.filter} value={filter} onSearch={setFilter} />
        <Field label={says.provider} hideLabel className="w-40">
          <Select value={provider} onChange={({ target }) => setProvider(target.value)}>
            <option value="">{dashboard.allProviders}</option>
            <option value="plan">{providers.plan}</option>
            <option value="bedrock">{providers.bedrock}</option>
          </Select>
        </Field>
        <Field label={says.region} hideLabel className="w-40">
          <Select value={region} onChange={({ target }) => setRegion(target.value)}>
            <option value="">{says.allRegions}</option>
            {regions.map((it) => (
              <option key={it}>{it}</option>
            ))}
          </Select>
        </Field>
      </div>
      {shown.length === 0 ? (
        <Empty icon={SearchX} title={says.empty} text={says.emptyText} />
      ) : (
        <PriceTable prices={shown} />
      )}
    </div>
  );
}

type Priced = Pick<
  ModelPrice,
  | 'input_price'
  | 'output_price'
  | 'cache_read_price'
  | 'cache_write_5m_price'
  | 'cache_write_1h_price'
>;

/** A model's usual prices, or those beyond a threshold. */
interface PriceRow {
  price: ModelPrice;
  priced: Priced;
  threshold_tokens: number | null;
}

const rowsOf = (price: ModelPrice): PriceRow[] => [
  { price, priced: price, threshold_tokens: null },
  ...(price.long_context
    ? [
        {
          price,
          priced: price.long_context,
          threshold_tokens: price.long_context.threshold_tokens,
        },
      ]
    : []),
];

function PriceTable({ prices }: { prices: ModelPrice[] }) {
  const { pricing: says, provider } = useMessages();
  const formats = useFormats();
  const priceColumn = (name: string, of: keyof Priced) => ({
    name,
    numeric: true,
    cell: ({ priced }: PriceRow) => formats.price(priced[of]),
  });
  return (
    <Table
      label={says.title}
      items={prices.flatMap(rowsOf)}
      keyOf={({ price, threshold_tokens }) =>
        [price.provider, price.region, price.model_id, price.effective_date, threshold_tokens].join(
          ' ',
        )
      }
      columns={[
        {
          name: says.model,
          wraps: true,
          cell: ({ price, threshold_tokens }) => (
            <>
              <span className="font-medium">{price.model_id}</span>
              {threshold_tokens !== null && (
                <span className="block text-xs text-muted">
                  {says.longContext(formats.count(threshold_tokens))}
                </span>
              )}
            </>
          ),
        },
        { name: says.provider, cell: ({ price }) => provider[price.provider] },
        { name: says.region, cell: ({ price }) => price.region },
        priceColumn(says.input, 'input_price'),
        priceColumn(says.output, 'output_price'),
        priceColumn(says.cacheRead, 'cache_read_price'),
        priceColumn(says.cacheWrite5m, 'cache_write_5m_price'),
        priceColumn(says.cacheWrite1h, 'cache_write_1h_price'),
        {
          name: says.since,
          className: 'tabular-nums',
          cell: ({ price }) => (price.effective_date === EVER ? says.always : price.effective_date),
        },
        {
          name: says.source,
          cell: ({ price }) => (
            <Badge tone={price.source === 'operator' ? 'accent' : 'neutral'}>
              {says.sources[price.source]}
            </Badge>
          ),
        },
      ]}
    />
  );
}
