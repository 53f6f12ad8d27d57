import { usePrefetchInfiniteQuery, usePrefetchQuery, useQuery } from '@tanstack/react-query';
import { ChartNoAxesColumn } from 'lucide-react';
import { useSearchParams } from 'react-router';

import type { UsageReport } from '@/api/schema';
import { Card } from '@/components/ui/card';
import { Empty } from '@/components/ui/empty';
import { Problem } from '@/components/ui/problem';
import { Segmented } from '@/components/ui/segmented';
import { Skeleton } from '@/components/ui/skeleton';
import { useMessages } from '@/messages/messages';

import { requestsQuery, topUsersQuery, usageQuery } from './api';
import { Figures } from './figures';
import type { Asked } from './filters';
import { MEASURES } from './measures';
import { ModelMix } from './model-mix';
import { Outcomes } from './outcomes';
import { OverTime } from './over-time';
import { Requests } from './requests';
import { TopUsers } from './top-users';
import type { UsedKey } from './use-labels';

interface DashboardProps {
  asked: Asked;
  /** Of the user who is looked at, if it is one. */
  keys: UsedKey[];
}

/** A range in numbers, in charts, and request by request. */
export function Dashboard({ asked, keys }: DashboardProps) {
  const { dashboard } = useMessages();
  // On their way together, not one after the other.
  usePrefetchQuery(topUsersQuery(asked));
  usePrefetchInfiniteQuery(requestsQuery(asked));
  const usage = useQuery(usageQuery(asked));
  const report = usage.data;
  if (!report) {
    return usage.error ? (
      <Problem error={usage.error} onRetry={() => void usage.refetch()} />
    ) : (
      <Loading />
    );
  }
  return (
    <>
      <Figures report={report} />
      {report.totals.requests > 0 ? (
        <Charts asked={asked} report={report} keys={keys} />
      ) : (
        <Card title={dashboard.empty}>
          <Empty icon={ChartNoAxesColumn} title={dashboard.empty} text={dashboard.emptyText} />
        </Card>
      )}
      <Requests asked={asked} />
    </>
  );
}

function Charts({ asked, report, keys }: DashboardProps & { report: UsageReport }) {
  const { chart } = useMessages();
  const { isCumulative, chooseBy, chooseSums } = useStacking();
  return (
    <>
      <div className="flex flex-wrap items-center justify-end gap-2">
        <Segmented
          label={chart.by}
          value={asked.stack_by}
          options={[
            { value: 'provider', label: chart.byProvider },
            { value: 'model', label: chart.byModel },
            ...(asked.query.user_id ? [{ value: 'access_key', label: chart.byAccessKey }] : []),
          ]}
          onChange={chooseBy}
        />
        <Segmented
          label={chart.sums}
          value={isCumulative ? 'cumulative' : 'period'}
          options={[
            { value: 'period', label: chart.period },
            { value: 'cumulative', label: chart.cumulative },
          ]}
          onChange={chooseSums}
        />
      </div>
      <div className="grid gap-4 xl:grid-cols-2 3xl:grid-cols-3">
        {MEASURES.map((measure) => (
          <OverTime
            key={measure}
            measure={measure}
            report={report}
            keys={keys}
            isCumulative={isCumulative}
          />
        ))}
        <TopUsers asked={asked} total={report.totals} />
        <ModelMix report={report} />
        <Outcomes report={report} />
      </div>
    </>
  );
}

/** How the charts are stacked; in the address, too. */
function useStacking() {
  const [search, setSearch] = useSearchParams();
  const set = (name: string, value: string, usual: string) =>
    setSearch(
      (before) => {
        const next = new URLSearchParams(before);
        if (value === usual) next.delete(name);
        else next.set(name, value);
        return next;
      },
      { replace: true, preventScrollReset: true },
    );
  return {
    isCumulative: search.get('sums') === 'cumulative',
    chooseBy: (by: string) => set('by', by, 'provider'),
    chooseSums: (sums: string) => set('sums', sums, 'period'),
  };
}

function Loading() {
  return (
    <>
      <div className="grid grid-cols-2 gap-3 md:grid-cols-3 2xl:grid-cols-6">
        {['a', 'b', 'c', 'd', 'e', 'f'].map((key) => (
          <Skeleton key={key} className="h-24" />
        ))}
      </div>
      <div className="grid gap-4 xl:grid-cols-2 3xl:grid-cols-3">
        <Skeleton className="h-80" />
        <Skeleton className="h-80" />
      </div>
    </>
  );
}
