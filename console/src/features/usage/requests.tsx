import { useInfiniteQuery } from '@tanstack/react-query';
import { Download, Inbox } from 'lucide-react';
import { Link } from 'react-router';

import type { RequestList } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { buttonLook } from '@/components/ui/button';
import { Card } from '@/components/ui/card';
import { Empty } from '@/components/ui/empty';
import { Older } from '@/components/ui/older';
import { Problem } from '@/components/ui/problem';
import { Skeleton } from '@/components/ui/skeleton';
import { Cell, HeadCell, RowHead, Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { requestsQuery } from './api';
import type { Asked } from './filters';
import { useLabels } from './use-labels';

/** Requests one by one, newest first. */
export function Requests({ asked }: { asked: Asked }) {
  const { requests: says } = useMessages();
  const query = useInfiniteQuery(requestsQuery(asked));
  const items = query.data?.pages.flatMap((page) => page.items);
  return (
    <Card
      flush
      title={says.title}
      aside={
        <a
          href={exportUrl(asked)}
          download
          className={buttonLook({ variant: 'quiet', size: 'small' })}
        >
          <Download aria-hidden />
          {says.export}
        </a>
      }
    >
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
          <Table
            label={says.title}
            head={
              <>
                <HeadCell>{says.time}</HeadCell>
                <HeadCell>{says.user}</HeadCell>
                <HeadCell>{says.model}</HeadCell>
                <HeadCell>{says.provider}</HeadCell>
                <HeadCell>{says.outcome}</HeadCell>
                <HeadCell numeric>{says.input}</HeadCell>
                <HeadCell numeric>{says.output}</HeadCell>
                <HeadCell numeric>{says.cache}</HeadCell>
                <HeadCell numeric>{says.cost}</HeadCell>
                <HeadCell numeric>{says.duration}</HeadCell>
              </>
            }
          >
            {items.map((request) => (
              <RequestRow key={request.event_id} request={request} />
            ))}
          </Table>
          <Older query={query} />
        </>
      )}
    </Card>
  );
}

function RequestRow({ request }: { request: RequestList['items'][number] }) {
  const { requests: says, state } = useMessages();
  const formats = useFormats();
  const labels = useLabels();
  const cache =
    request.cache_read_tokens + request.cache_write_5m_tokens + request.cache_write_1h_tokens;
  return (
    <tr>
      <RowHead
        className="tabular-nums max-md:min-w-32 md:whitespace-nowrap"
        title={formats.exactTime(request.started_at)}
      >
        {formats.dateTime(request.started_at)}
      </RowHead>
      <Cell className="max-w-48 truncate">
        {request.user_id && request.user_name ? (
          <Link to={`/users/${request.user_id}`} className="hover:underline">
            {request.user_name}
          </Link>
        ) : (
          state.none
        )}
      </Cell>
      <Cell className="whitespace-nowrap">
        {labels.model(request.pricing_model_id || request.model)}
      </Cell>
      <Cell className="whitespace-nowrap">
        {labels.provider(request.provider ?? 'none')}{' '}
        {request.is_fallback && <Badge tone="accent">{says.fallback}</Badge>}
      </Cell>
      <Cell className="whitespace-nowrap">
        {labels.outcome(request.outcome)}{' '}
        {request.status >= 400 && <Badge tone="bad">{request.status}</Badge>}
        {request.is_estimate && <Badge>{says.estimate}</Badge>}
      </Cell>
      <Cell numeric>{formats.count(request.input_tokens)}</Cell>
      <Cell numeric>{formats.count(request.output_tokens)}</Cell>
      <Cell numeric>{formats.count(cache)}</Cell>
      <Cell numeric>
        {request.priced ? (
          formats.usd(request.estimated_cost_usd)
        ) : (
          <Badge tone="warn">{says.noPrice}</Badge>
        )}
      </Cell>
      <Cell numeric>{formats.milliseconds(request.duration_ms)}</Cell>
    </tr>
  );
}

function exportUrl({ query }: Asked): string {
  return `/admin/usage/export?${new URLSearchParams(query)}`;
}
