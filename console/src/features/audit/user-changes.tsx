import { useInfiniteQuery } from '@tanstack/react-query';
import { ArrowUpRight, ScrollText } from 'lucide-react';
import { Link } from 'react-router';

import { buttonLook } from '@/components/ui/button';
import { Card } from '@/components/ui/card';
import { Empty } from '@/components/ui/empty';
import { Problem } from '@/components/ui/problem';
import { Skeleton } from '@/components/ui/skeleton';
import { useMessages } from '@/messages/messages';

import { auditQuery } from './api';
import { Entries } from './entries';

/** What was changed about a user last. */
export function UserChanges({ user_id }: { user_id: string }) {
  const { audit: says } = useMessages();
  const query = useInfiniteQuery(auditQuery({ user_id, limit: 5 }));
  const entries = query.data?.pages[0]?.items;
  return (
    <Card
      flush
      title={says.ofUser}
      aside={
        <Link
          to={`/audit?user_id=${user_id}`}
          className={buttonLook({ variant: 'quiet', size: 'small' })}
        >
          {says.all}
          <ArrowUpRight aria-hidden />
        </Link>
      }
    >
      {entries ? (
        entries.length > 0 ? (
          <Entries entries={entries} />
        ) : (
          <Empty icon={ScrollText} title={says.empty} text={says.emptyText} />
        )
      ) : query.error ? (
        <Problem error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Skeleton className="mx-5 mb-5 h-32" />
      )}
    </Card>
  );
}
