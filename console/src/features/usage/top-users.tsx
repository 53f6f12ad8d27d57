import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';

import type { Totals } from '@/api/schema';
import { Problem } from '@/components/ui/problem';
import { Skeleton } from '@/components/ui/skeleton';
import { useMessages } from '@/messages/messages';

import { topUsersQuery } from './api';
import { Breakdown } from './breakdown';
import type { Asked } from './filters';

interface TopUsersProps {
  asked: Asked;
  /** What everybody has used. */
  total: Totals;
}

export function TopUsers({ asked, total }: TopUsersProps) {
  const { chart } = useMessages();
  const { data: users, error, refetch } = useQuery(topUsersQuery(asked));
  if (!users) {
    return error ? (
      <Problem error={error} onRetry={() => void refetch()} />
    ) : (
      <Skeleton className="h-80" />
    );
  }
  return (
    <Breakdown
      title={chart.topUsers}
      heading={chart.user}
      name="top_users"
      parts={users.map((user) => ({
        key: user.user_id,
        label: user.name,
        name: (
          <Link to={`/users/${user.user_id}`} className="hover:underline">
            {user.name}
          </Link>
        ),
        estimated_cost_usd: user.estimated_cost_usd,
        total_tokens: user.total_tokens,
        requests: user.total_requests,
        unpriced_requests: user.unpriced_requests,
      }))}
      total={total}
    />
  );
}
