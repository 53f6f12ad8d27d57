import { useInfiniteQuery } from '@tanstack/react-query';
import { CircleCheck } from 'lucide-react';
import { Link } from 'react-router';

import { Badge } from '@/components/ui/badge';
import { Empty } from '@/components/ui/empty';
import { ListCard } from '@/components/ui/list-card';
import { More } from '@/components/ui/more';
import { Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { circuitsQuery } from './api';

/** The access keys that go to Bedrock first for now. */
export function Circuits() {
  const { proxies: says, circuit: states, pages } = useMessages();
  const formats = useFormats();
  const query = useInfiniteQuery({ ...circuitsQuery, refetchInterval: 5_000 });
  return (
    <ListCard
      title={says.circuitsTitle}
      text={says.circuitsText}
      items={query.data?.pages.flatMap((page) => page.items)}
      error={query.error}
      onRetry={() => void query.refetch()}
      empty={<Empty icon={CircleCheck} title={says.noCircuits} text={says.noCircuitsText} />}
    >
      {(circuits) => (
        <>
          <Table
            label={says.circuitsTitle}
            items={circuits}
            keyOf={({ access_key_id }) => access_key_id}
            columns={[
              {
                name: says.user,
                wraps: true,
                cell: ({ user_id, user_name }) => (
                  <Link to={`/users/${user_id}`} className="font-medium hover:underline">
                    {user_name}
                  </Link>
                ),
              },
              {
                name: says.key,
                wraps: true,
                cell: ({ access_key_name, key_prefix }) => (
                  <>
                    {access_key_name}{' '}
                    <code className="font-mono text-xs text-muted">{key_prefix}…</code>
                  </>
                ),
              },
              {
                name: says.state,
                cell: ({ state, proxies }) => (
                  <>
                    <Badge tone="warn">{states[state]}</Badge>{' '}
                    <span className="text-xs text-muted">{states.onProxies(proxies)}</span>
                  </>
                ),
              },
              { name: says.reason, cell: ({ cause }) => states.causes[cause] },
              { name: says.until, cell: ({ open_until }) => formats.dateTime(open_until) },
            ]}
          />
          <More query={query} label={pages.more} />
        </>
      )}
    </ListCard>
  );
}
