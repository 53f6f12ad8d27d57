import { useQuery } from '@tanstack/react-query';
import { clsx } from 'clsx';
import { ArrowUpRight, ChartNoAxesColumn } from 'lucide-react';
import { useId } from 'react';
import { Link } from 'react-router';

import type { User } from '@/api/schema';
import { buttonLook } from '@/components/ui/button';
import { Empty } from '@/components/ui/empty';
import { Problem } from '@/components/ui/problem';
import { Skeleton } from '@/components/ui/skeleton';
import { useMessages } from '@/messages/messages';

import { usageQuery, usageSeriesQuery } from './api';
import { Breakdown } from './breakdown';
import { RangeChoice } from './filter-bar';
import { OverTime } from './over-time';
import { useFilters } from './use-filters';
import { useLabels } from './use-labels';

/** What a user has used: over time, with which key, and of which model. */
export function UserUsage({ user }: { user: User }) {
  const { userUsage: says, chart, dashboard } = useMessages();
  const labels = useLabels();
  const title = useId();
  const { filters, asked, change } = useFilters();
  const ofUser = { ...asked, query: { ...asked.query, user_id: user.id } };
  const usage = useQuery(usageQuery(ofUser));
  const series = useQuery(usageSeriesQuery(ofUser, 'provider'));
  const report = usage.data;
  const error = usage.error ?? series.error;

  function charts() {
    if (!report || !series.data) {
      return error ? (
        <Problem
          error={error}
          onRetry={() => void Promise.all([usage.refetch(), series.refetch()])}
        />
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
    return (
      <div className="grid gap-4 xl:grid-cols-3">
        <OverTime
          measure="cost"
          report={report}
          series={series.data}
          by="provider"
          isCumulative={false}
        />
        <Breakdown
          title={says.byKey}
          heading={chart.key}
          name="access_keys"
          parts={report.by_access_key.map((part) => ({
            ...part,
            key: part.access_key_id ?? '',
            label: part.name ? `${part.name} (${part.key_prefix}…)` : `${part.key_prefix ?? ''}…`,
          }))}
          total={report.totals}
        />
        <Breakdown
          title={chart.modelMix}
          heading={chart.byModel}
          name="models"
          parts={report.by_model.map((part) => ({
            ...part,
            key: part.model_id,
            label: labels.model(part.model_id),
          }))}
          total={report.totals}
        />
      </div>
    );
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
