import { useQuery } from '@tanstack/react-query';
import { CircleCheck, RefreshCw, SearchX } from 'lucide-react';
import { useState } from 'react';

import type { ModelPrice, UnpricedModel } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Button } from '@/components/ui/button';
import { Card } from '@/components/ui/card';
import { Empty } from '@/components/ui/empty';
import { Field, Select } from '@/components/ui/field';
import { useNotify } from '@/components/ui/notices';
import { Page } from '@/components/ui/page';
import { Problem, ProblemNote } from '@/components/ui/problem';
import { SearchField } from '@/components/ui/search';
import { Skeleton } from '@/components/ui/skeleton';
import { Cell, HeadCell, RowHead, Table } from '@/components/ui/table';
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
        head={
          <>
            <HeadCell>{says.model}</HeadCell>
            <HeadCell>{says.provider}</HeadCell>
            <HeadCell numeric>{says.requests}</HeadCell>
            <HeadCell numeric>{says.lastUsed}</HeadCell>
          </>
        }
      >
        {models.map((model) => (
          <tr key={`${model.provider} ${model.model_id}`}>
            <RowHead className="font-medium">{model.model_id}</RowHead>
            <Cell>{model.provider === 'plan' ? provider.plan : provider.bedrock}</Cell>
            <Cell numeric>{formats.count(model.requests)}</Cell>
            <Cell numeric>{formats.dateTime(model.last_used_at)}</Cell>
          </tr>
        ))}
      </Table>
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
      price.model_id.includes(filter.toLowerCase()) &&
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
        <Table
          label={says.title}
          head={
            <>
              <HeadCell>{says.model}</HeadCell>
              <HeadCell>{says.provider}</HeadCell>
              <HeadCell>{says.region}</HeadCell>
              <HeadCell numeric>{says.input}</HeadCell>
              <HeadCell numeric>{says.output}</HeadCell>
              <HeadCell numeric>{says.cacheRead}</HeadCell>
              <HeadCell numeric>{says.cacheWrite5m}</HeadCell>
              <HeadCell numeric>{says.cacheWrite1h}</HeadCell>
              <HeadCell>{says.since}</HeadCell>
              <HeadCell>{says.source}</HeadCell>
            </>
          }
        >
          {shown.map((price) => (
            <PriceRows
              key={`${price.provider} ${price.region} ${price.model_id} ${price.effective_date}`}
              price={price}
            />
          ))}
        </Table>
      )}
    </div>
  );
}

function PriceRows({ price }: { price: ModelPrice }) {
  const { pricing: says, provider } = useMessages();
  const formats = useFormats();
  const { long_context } = price;
  return (
    <>
      <tr>
        <RowHead className="font-medium whitespace-nowrap">{price.model_id}</RowHead>
        <Cell>{provider[price.provider]}</Cell>
        <Cell className="whitespace-nowrap">{price.region}</Cell>
        <Prices of={price} />
        <Cell className="whitespace-nowrap tabular-nums">
          {price.effective_date === EVER ? says.always : price.effective_date}
        </Cell>
        <Cell>
          <Badge tone={price.source === 'operator' ? 'accent' : 'neutral'}>
            {says.sources[price.source]}
          </Badge>
        </Cell>
      </tr>
      {long_context && (
        <tr>
          <RowHead colSpan={3} className="text-xs text-muted">
            {says.longContext(formats.count(long_context.threshold_tokens))}
          </RowHead>
          <Prices of={long_context} />
          <Cell colSpan={2} />
        </tr>
      )}
    </>
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

function Prices({ of: priced }: { of: Priced }) {
  const { price } = useFormats();
  return (
    <>
      <Cell numeric>{price(priced.input_price)}</Cell>
      <Cell numeric>{price(priced.output_price)}</Cell>
      <Cell numeric>{price(priced.cache_read_price)}</Cell>
      <Cell numeric>{price(priced.cache_write_5m_price)}</Cell>
      <Cell numeric>{price(priced.cache_write_1h_price)}</Cell>
    </>
  );
}
