import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';

import { BarList } from '@/components/chart/bar-list';
import { ChartCard } from '@/components/chart/chart-card';
import { Skeleton } from '@/components/ui/skeleton';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { topUsersQuery } from './api';
import type { Asked } from './filters';

interface TopUsersProps {
  asked: Asked;
  /** What everybody has cost. */
  total: number;
}

export function TopUsers({ asked, total }: TopUsersProps) {
  const { chart } = useMessages();
  const formats = useFormats();
  const { data: users } = useQuery(topUsersQuery(asked));
  return (
    <ChartCard
      title={chart.topUsers}
      text={chart.cost}
      name="top_users"
      table={{
        columns: [
          { name: chart.user },
          { name: chart.cost, format: formats.usd },
          { name: chart.tokens, format: (value) => formats.count(Number(value)) },
          { name: chart.requests, format: (value) => formats.count(Number(value)) },
        ],
        rows: (users ?? []).map((user) => [
          user.name,
          Number(user.estimated_cost_usd),
          user.total_tokens,
          user.total_requests,
        ]),
      }}
    >
      {users ? (
        <BarList
          total={total}
          items={users.map((user) => ({
            key: user.user_id,
            name: (
              <Link to={`/users/${user.user_id}`} className="hover:underline">
                {user.name}
              </Link>
            ),
            value: Number(user.estimated_cost_usd),
            shown: formats.usd(user.estimated_cost_usd),
          }))}
        />
      ) : (
        <Skeleton className="h-56" />
      )}
    </ChartCard>
  );
}
