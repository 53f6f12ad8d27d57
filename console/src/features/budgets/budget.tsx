import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import type { User, UserBudget } from '@/api/schema';
import { later } from '@/components/later';
import { Badge } from '@/components/ui/badge';
import { Button } from '@/components/ui/button';
import { Card } from '@/components/ui/card';
import { Meter } from '@/components/ui/meter';
import { Problem } from '@/components/ui/problem';
import { Skeleton } from '@/components/ui/skeleton';
import { Unpriced } from '@/components/unpriced';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { budgetQuery } from './api';
import { forecast } from './forecast';

const EditBudget = later(() => import('./edit-budget').then((it) => it.EditBudget));

/** What a user may spend on Bedrock, has spent, and will have spent. */
export function Budget({ user }: { user: User }) {
  const { budget: says } = useMessages();
  const query = useQuery(budgetQuery(user.id));
  const [isEditing, setEditing] = useState(false);
  const budget = query.data;
  return (
    <Card
      title={says.title}
      text={says.subtitle}
      aside={
        budget && (
          <Button size="small" onClick={() => setEditing(true)}>
            {budget.monthly_budget_usd ? says.edit : says.set}
          </Button>
        )
      }
    >
      {budget ? (
        <Standing budget={budget} />
      ) : query.error ? (
        <Problem error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Skeleton className="h-32" />
      )}
      {budget && isEditing && (
        <EditBudget user={user} budget={budget} onClose={() => setEditing(false)} />
      )}
    </Card>
  );
}

function Standing({ budget }: { budget: UserBudget }) {
  const { budget: says } = useMessages();
  const formats = useFormats();
  const { monthly_budget_usd: limit, usage_percentage: percent, remaining_usd: left } = budget;
  const spent = formats.usd(budget.current_usage_usd);
  return (
    <div className="space-y-3">
      <dl className="flex flex-wrap gap-x-8 gap-y-2">
        <Amount name={says.spent} value={spent} />
        <Amount name={says.remaining} value={left ? formats.usd(left) : says.unlimited} />
        <Amount name={says.limit} value={limit ? formats.usd(limit) : says.unlimited} />
      </dl>
      {typeof percent === 'number' && (
        <div>
          <Meter label={says.title} percent={percent} className="h-2" />
          <p className="mt-1 text-xs text-muted">{says.used(formats.percent(percent / 100))}</p>
        </div>
      )}
      <p className={budget.is_exhausted ? 'font-medium text-bad' : undefined}>
        <Forecast budget={budget} />
      </p>
      <Unpriced requests={budget.unpriced_requests} />
      <p className="text-xs text-muted">{says.resets(formats.date(budget.period_end))}</p>
      {budget.thresholds.length > 0 && (
        <ul className="flex flex-wrap gap-1.5">
          {budget.thresholds.map(({ threshold, crossed_at }) => (
            <li key={`${threshold} ${crossed_at}`}>
              <Badge tone={threshold >= 100 ? 'bad' : threshold >= 80 ? 'warn' : 'neutral'}>
                {says.thresholdCrossed(threshold, formats.dateTime(crossed_at))}
              </Badge>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Amount({ name, value }: { name: string; value: string }) {
  return (
    <div className="min-w-0">
      <dt className="text-xs text-muted">{name}</dt>
      <dd className="mt-0.5 text-lg font-semibold tracking-tight tabular-nums">{value}</dd>
    </div>
  );
}

function Forecast({ budget }: { budget: UserBudget }) {
  const { budget: says } = useMessages();
  const formats = useFormats();
  const now = useNow();
  const expected = forecast(budget, now);
  switch (expected.kind) {
    case 'exhausted':
      return says.forecast.exhausted(formats.date(budget.period_end));
    case 'idle':
      return says.forecast.idle;
    case 'too_early':
      return says.forecast.tooEarly;
    case 'unlimited':
      return says.forecast.unlimited(formats.usd(expected.amount));
    case 'lasts':
      return says.forecast.lasts(formats.usd(expected.amount));
    case 'used_up':
      return says.forecast.usedUp(formats.dayMonth(expected.at));
  }
}
