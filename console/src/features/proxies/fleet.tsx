import { useQuery } from '@tanstack/react-query';
import { Server } from 'lucide-react';

import type { Proxy } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Empty } from '@/components/ui/empty';
import { ListCard } from '@/components/ui/list-card';
import { Cell, HeadCell, RowHead, Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { proxiesQuery } from './api';

/** Every proxy, as it reported last. */
export function Fleet() {
  const { proxies: says } = useMessages();
  const formats = useFormats();
  const query = useQuery({ ...proxiesQuery, refetchInterval: 2_000 });
  const { summary, head, items } = query.data ?? {};
  return (
    <ListCard
      title={summary ? says.inForce(summary.in_force, summary.connected) : says.title}
      text={head && says.revision(formats.count(head.revision))}
      aside={
        summary &&
        summary.connected > 0 && (
          <Badge tone={summary.in_force === summary.connected ? 'good' : 'warn'}>
            {summary.in_force} / {summary.connected}
          </Badge>
        )
      }
      items={items}
      error={query.error}
      onRetry={() => void query.refetch()}
      empty={<Empty icon={Server} title={says.empty} text={says.emptyText} />}
    >
      {(proxies) => (
        <Table
          label={says.title}
          head={
            <>
              <HeadCell>{says.instance}</HeadCell>
              <HeadCell>{says.state}</HeadCell>
              <HeadCell>{says.version}</HeadCell>
              <HeadCell numeric>{says.applied}</HeadCell>
              <HeadCell>{says.lag}</HeadCell>
              <HeadCell numeric>{says.pending}</HeadCell>
              <HeadCell numeric>{says.streams}</HeadCell>
              <HeadCell numeric>{says.circuits}</HeadCell>
              <HeadCell>{says.reportedAt}</HeadCell>
              <HeadCell>{says.startedAt}</HeadCell>
            </>
          }
        >
          {proxies.map((proxy) => (
            <ProxyRow key={proxy.instance_id} proxy={proxy} />
          ))}
        </Table>
      )}
    </ListCard>
  );
}

function ProxyRow({ proxy }: { proxy: Proxy }) {
  const { proxies: says, state } = useMessages();
  const formats = useFormats();
  const now = useNow(1_000);
  const { applied_revision, started_at, is_connected } = proxy;
  return (
    <tr className={is_connected ? undefined : 'text-muted'}>
      <RowHead className="min-w-36">
        <span className="block font-medium">{proxy.address}</span>
        <code className="font-mono text-xs text-muted">{proxy.instance_id.slice(-12)}</code>
      </RowHead>
      <Cell className="whitespace-nowrap">
        <Badge tone={is_connected ? 'good' : 'neutral'}>
          {is_connected ? says.connected : says.disconnected}
        </Badge>
        {proxy.rejected.length > 0 && (
          <span className="mt-0.5 block text-xs text-warn">
            {says.rejected(proxy.rejected.length)}
          </span>
        )}
      </Cell>
      <Cell>{proxy.version}</Cell>
      <Cell numeric>
        {typeof applied_revision === 'number' ? formats.count(applied_revision) : state.none}
      </Cell>
      <Cell className="whitespace-nowrap">
        <Lag proxy={proxy} />
      </Cell>
      <Cell numeric>
        {formats.count(proxy.usage_pending)}
        {proxy.usage_dropped > 0 && (
          <span className="block text-xs text-bad">
            {says.dropped(formats.count(proxy.usage_dropped))}
          </span>
        )}
      </Cell>
      <Cell numeric>{formats.count(proxy.active_streams)}</Cell>
      <Cell numeric>{formats.count(proxy.circuits)}</Cell>
      <Cell className="whitespace-nowrap">{formats.ago(proxy.reported_at, now)}</Cell>
      <Cell className="whitespace-nowrap">
        {started_at ? formats.dateTime(started_at) : state.unknown}
      </Cell>
    </tr>
  );
}

function Lag({ proxy: { is_connected, revisions_behind, is_behind } }: { proxy: Proxy }) {
  const { proxies: says, state } = useMessages();
  const formats = useFormats();
  if (!is_connected) return state.none;
  if (!is_behind) return <Badge tone="good">{says.current}</Badge>;
  return (
    <Badge tone="warn">
      {typeof revisions_behind === 'number'
        ? says.behind(formats.count(revisions_behind))
        : says.nothingApplied}
    </Badge>
  );
}
