import { useInfiniteQuery } from '@tanstack/react-query';
import { Download, Inbox } from 'lucide-react';
import { Link } from 'react-router';

import type { RequestList } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Button } from '@/components/ui/button';
import { Card } from '@/components/ui/card';
import { Empty } from '@/components/ui/empty';
import { More } from '@/components/ui/more';
import { Problem, ProblemNote } from '@/components/ui/problem';
import { Skeleton } from '@/components/ui/skeleton';
import { Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { requestsQuery, useExport } from './api';
import type { Asked } from './filters';
import { useLabels } from './use-labels';

/** Requests one by one, newest first. */
export function Requests({ asked }: { asked: Asked }) {
  const { requests: says, pages } = useMessages();
  const query = useInfiniteQuery(requestsQuery(asked));
  const exporting = useExport();
  const items = query.data?.pages.flatMap((page) => page.items);
  return (
    <Card
      flush
      title={says.title}
      aside={
        <Button
          variant="quiet"
          size="small"
          disabled={exporting.isPending}
          onClick={() => exporting.mutate(asked)}
        >
          <Download aria-hidden />
          {says.export}
        </Button>
      }
    >
      {exporting.error && (
        <div className="px-5 pb-4">
          <ProblemNote error={exporting.error} />
        </div>
      )}
      {!items ? (
        query.error ? (
          <Problem error={query.error} onRetry={() => void query.refetch()} />
        ) : (
          <Skeleton className="mx-5 h-40" />
        )
      ) : items.length === 0 ? (
        <Empty icon={Inbox} title={says.empty} text={says.emptyText} />
      ) : (
        <>
          <RequestTable requests={items} />
          <More query={query} label={pages.older} />
        </>
      )}
    </Card>
  );
}

type OneRequest = RequestList['items'][number];

function RequestTable({ requests }: { requests: OneRequest[] }) {
  const { requests: says, state } = useMessages();
  const formats = useFormats();
  const labels = useLabels();
  return (
    <Table
      label={says.title}
      items={requests}
      keyOf={({ event_id }) => event_id}
      columns={[
        {
          name: says.time,
          className: 'tabular-nums',
          cell: ({ started_at }) => (
            <span title={formats.exactTime(started_at)}>{formats.dateTime(started_at)}</span>
          ),
        },
        {
          name: says.user,
          wraps: true,
          cell: ({ user_id, user_name }) =>
            user_id && user_name ? (
              <Link to={`/users/${user_id}`} className="hover:underline">
                {user_name}
              </Link>
            ) : (
              state.none
            ),
        },
        {
          name: says.model,
          wraps: true,
          cell: ({ pricing_model_id, model }) => labels.model(pricing_model_id || model),
        },
        {
          name: says.provider,
          cell: ({ provider, is_fallback }) => (
            <>
              {labels.provider(provider ?? 'none')}{' '}
              {is_fallback && <Badge tone="accent">{says.fallback}</Badge>}
            </>
          ),
        },
        {
          name: says.outcome,
          cell: ({ outcome, status, is_estimate }) => (
            <>
              {labels.outcome(outcome)} {status >= 400 && <Badge tone="bad">{status}</Badge>}
              {is_estimate && <Badge>{says.estimate}</Badge>}
            </>
          ),
        },
        { name: says.input, numeric: true, cell: (it) => formats.count(it.input_tokens) },
        { name: says.output, numeric: true, cell: (it) => formats.count(it.output_tokens) },
        { name: says.cache, numeric: true, cell: (it) => formats.count(cached(it)) },
        {
          name: says.cost,
          numeric: true,
          cell: ({ priced, estimated_cost_usd }) =>
            priced ? formats.usd(estimated_cost_usd) : <Badge tone="warn">{says.noPrice}</Badge>,
        },
        {
          name: says.duration,
          numeric: true,
          cell: ({ duration_ms }) => formats.milliseconds(duration_ms),
        },
      ]}
    />
  );
}

const cached = (request: OneRequest) =>
  request.cache_read_tokens + request.cache_write_5m_tokens + request.cache_write_1h_tokens;
