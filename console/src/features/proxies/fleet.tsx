import { useQuery } from '@tanstack/react-query';
import { Server } from 'lucide-react';

import type { Proxy } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Empty } from '@/components/ui/empty';
import { ListCard } from '@/components/ui/list-card';
import { Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { proxiesQuery } from './api';
import { inForce } from './in-force';

/** Every proxy, as it reported last. */
export function Fleet() {
  const { proxies: says } = useMessages();
  const formats = useFormats();
  const query = useQuery({ ...proxiesQuery, refetchInterval: 2_000 });
  const { summary, head, items } = query.data ?? {};
  const silent = query.data ? inForce(query.data, query.data.head.revision).silent : [];
  const isFine = summary?.in_force === summary?.connected && silent.length === 0;
  return (
    <ListCard
      title={summary ? says.inForce(summary.in_force, summary.connected) : says.title}
      text={head && says.revision(formats.count(head.revision))}
      aside={
        summary &&
        summary.connected > 0 && (
          <Badge tone={isFine ? 'good' : 'warn'}>
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
        <>
          {silent.length > 0 && <Silent proxies={silent} />}
          <Proxies proxies={proxies} />
        </>
      )}
    </ListCard>
  );
}

/** What they may still do, as control cannot tell them anything new. */
function Silent({ proxies }: { proxies: Proxy[] }) {
  const { proxies: says } = useMessages();
  const formats = useFormats();
  const [first] = proxies.map(({ reported_at }) => reported_at).sort();
  return (
    <p className="mx-4 mb-4 rounded-lg bg-warn-soft px-3 py-2 text-warn sm:mx-5">
      {says.silent(proxies.length, first ? formats.dateTime(first) : '')}
    </p>
  );
}

function Proxies({ proxies }: { proxies: Proxy[] }) {
  const { proxies: says, state } = useMessages();
  const formats = useFormats();
  const now = useNow(1_000);
  return (
    <Table
      label={says.title}
      items={proxies}
      keyOf={({ instance_id }) => instance_id}
      rowClassName={({ is_connected }) => (is_connected ? undefined : 'text-muted')}
      columns={[
        {
          name: says.instance,
          cell: ({ address, instance_id }) => (
            <>
              <span className="block font-medium">{address}</span>
              <code className="font-mono text-xs text-muted">{instance_id.slice(-12)}</code>
            </>
          ),
        },
        { name: says.state, cell: (proxy) => <State proxy={proxy} /> },
        { name: says.version, cell: ({ version }) => version },
        {
          name: says.applied,
          numeric: true,
          cell: ({ applied_revision }) =>
            typeof applied_revision === 'number' ? formats.count(applied_revision) : state.none,
        },
        { name: says.lag, cell: (proxy) => <Lag proxy={proxy} /> },
        { name: says.pending, numeric: true, cell: (proxy) => <Pending proxy={proxy} /> },
        {
          name: says.streams,
          numeric: true,
          cell: ({ active_streams }) => formats.count(active_streams),
        },
        { name: says.circuits, numeric: true, cell: ({ circuits }) => formats.count(circuits) },
        { name: says.reportedAt, cell: ({ reported_at }) => formats.ago(reported_at, now) },
        {
          name: says.startedAt,
          cell: ({ started_at }) => (started_at ? formats.dateTime(started_at) : state.unknown),
        },
      ]}
    />
  );
}

function State({ proxy: { is_connected, rejected } }: { proxy: Proxy }) {
  const { proxies: says } = useMessages();
  return (
    <>
      <Badge tone={is_connected ? 'good' : 'neutral'}>
        {is_connected ? says.connected : says.disconnected}
      </Badge>
      {rejected.length > 0 && (
        <span className="mt-0.5 block text-xs text-warn">{says.rejected(rejected.length)}</span>
      )}
    </>
  );
}

function Pending({ proxy: { usage_pending, usage_dropped } }: { proxy: Proxy }) {
  const { proxies: says } = useMessages();
  const formats = useFormats();
  return (
    <>
      {formats.count(usage_pending)}
      {usage_dropped > 0 && (
        <span className="block text-xs text-bad">{says.dropped(formats.count(usage_dropped))}</span>
      )}
    </>
  );
}

function Lag({ proxy: { is_connected, revisions_behind, is_behind } }: { proxy: Proxy }) {
  const { proxies: says } = useMessages();
  const formats = useFormats();
  if (!is_behind) return <Badge tone={is_connected ? 'good' : 'neutral'}>{says.current}</Badge>;
  return (
    <Badge tone="warn">
      {typeof revisions_behind === 'number'
        ? says.behind(formats.count(revisions_behind))
        : says.nothingApplied}
    </Badge>
  );
}
