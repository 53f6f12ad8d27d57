import { useQuery } from '@tanstack/react-query';
import { clsx } from 'clsx';
import { ArrowUpRight, ChartNoAxesColumn } from 'lucide-react';
import { useId } from 'react';
import { Link } from 'react-router';

import type { UsageReport, User } from '@/api/schema';
import { buttonLook } from '@/components/ui/button';
import { Empty } from '@/components/ui/empty';
import { Problem } from '@/components/ui/problem';
import { Skeleton } from '@/components/ui/skeleton';
import { useMessages } from '@/messages/messages';

import { usageQuery } from './api';
import { Breakdown } from './breakdown';
import { RangeChoice } from './filter-bar';
import { ModelMix } from './model-mix';
import { OverTime } from './over-time';
import { useFilters } from './use-filters';
import { useLabels, type UsedKey } from './use-labels';

/** What a user has used: over time, with which key, and of which model. */
export function UserUsage({ user, keys }: { user: User; keys: UsedKey[] }) {
  const { userUsage: says, dashboard } = useMessages();
  const title = useId();
  const { filters, asked, change } = useFilters();
  const ofUser = { ...asked, query: { ...asked.query, user_id: user.id } };
  const { data: report, error, refetch } = useQuery(usageQuery(ofUser));

  function charts() {
    if (!report) {
      return error ? (
        <Problem error={error} onRetry={() => void refetch()} />
      ) : (
        <Skeleton className="h-72" />
      );
    }
    if (report.totals.requests === 0) {
      return (
        <div className="rounded-xl border border-line bg-surface">
          <Empty icon={ChartNoAxesColumn} title={dashboard.empty} text={dashboard.emptyText} />
        </div>
      );
    }
    return <Charts report={report} keys={keys} />;
  }

  return (
    <section aria-labelledby={title} className="space-y-3 pt-2">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
        <h2 id={title} className="text-base font-semibold">
          {says.title}
        </h2>
        <RangeChoice filters={filters} onChange={change} />
        <Link
          to={`/dashboard?user_id=${user.id}`}
          className={clsx(buttonLook({ variant: 'quiet', size: 'small' }), 'sm:ml-auto')}
        >
          {says.openDashboard}
          <ArrowUpRight aria-hidden />
        </Link>
      </div>
      {charts()}
    </section>
  );
}

interface ChartsProps {
  report: UsageReport;
  keys: UsedKey[];
}

function Charts({ report, keys }: ChartsProps) {
  const { userUsage: says, chart } = useMessages();
  const labels = useLabels(keys);
  return (
    <div className="grid gap-4 xl:grid-cols-3">
      <OverTime measure="cost" report={report} keys={keys} isCumulative={false} />
      <Breakdown
        title={says.byKey}
        heading={chart.key}
        name="access_keys"
        parts={report.by_access_key.map((part) => ({
          ...part,
          key: part.access_key_id,
          label: labels.access_key(part.access_key_id),
        }))}
        total={report.totals}
      />
      <ModelMix report={report} />
    </div>
  );
}
