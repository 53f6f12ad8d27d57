import { useQuery } from '@tanstack/react-query';
import { CircleCheck } from 'lucide-react';
import { Link } from 'react-router';

import { Badge } from '@/components/ui/badge';
import { Empty } from '@/components/ui/empty';
import { ListCard } from '@/components/ui/list-card';
import { Cell, HeadCell, RowHead, Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { circuitsQuery } from './api';

/** The access keys that go to Bedrock first for now. */
export function Circuits() {
  const { proxies: says, circuit: states } = useMessages();
  const formats = useFormats();
  const query = useQuery({ ...circuitsQuery, refetchInterval: 5_000 });
  return (
    <ListCard
      title={says.circuitsTitle}
      text={says.circuitsText}
      items={query.data?.items}
      error={query.error}
      onRetry={() => void query.refetch()}
      empty={<Empty icon={CircleCheck} title={says.noCircuits} text={says.noCircuitsText} />}
    >
      {(circuits) => (
        <Table
          label={says.circuitsTitle}
          head={
            <>
              <HeadCell>{says.user}</HeadCell>
              <HeadCell>{says.key}</HeadCell>
              <HeadCell>{says.state}</HeadCell>
              <HeadCell>{says.reason}</HeadCell>
              <HeadCell>{says.until}</HeadCell>
            </>
          }
        >
          {circuits.map((it) => (
            <tr key={it.access_key_id}>
              <RowHead>
                <Link to={`/users/${it.user_id}`} className="font-medium hover:underline">
                  {it.user_name}
                </Link>
              </RowHead>
              <Cell className="whitespace-nowrap">
                {it.access_key_name}{' '}
                <code className="font-mono text-xs text-muted">{it.key_prefix}…</code>
              </Cell>
              <Cell className="whitespace-nowrap">
                <Badge tone="warn">{states[it.state]}</Badge>{' '}
                <span className="text-xs text-muted">{states.onProxies(it.proxies)}</span>
              </Cell>
              <Cell className="whitespace-nowrap">{states.causes[it.cause]}</Cell>
              <Cell className="whitespace-nowrap">{formats.dateTime(it.open_until)}</Cell>
            </tr>
          ))}
        </Table>
      )}
    </ListCard>
  );
}
