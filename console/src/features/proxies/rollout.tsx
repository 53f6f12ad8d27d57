/** After a change: on how many proxies it is in force by now, until it is on all. */

import { useQuery } from '@tanstack/react-query';
import { CircleCheck, LoaderCircle, TriangleAlert } from 'lucide-react';
import { useEffect, useState } from 'react';
import { Link } from 'react-router';

import { useConfigRevision, type ConfigRevision } from '@/api/config-revision';
import { useMessages } from '@/messages/messages';

import { proxiesQuery } from './api';
import { inForce } from './in-force';

/** Then somebody should look at the proxies. */
const SLOW_MS = 10_000;
const SHOWN_MS = 5_000;

export function Rollout() {
  const { rollout } = useMessages();
  const change = useConfigRevision();
  const [shown, setShown] = useState<ConfigRevision | null>(null);
  return (
    <div role="status" aria-label={rollout.label}>
      {change && change !== shown && (
        <Progress key={change.revision} change={change} onShown={setShown} />
      )}
    </div>
  );
}

interface ProgressProps {
  change: ConfigRevision;
  onShown: (change: ConfigRevision) => void;
}

function Progress({ change, onShown }: ProgressProps) {
  const { rollout } = useMessages();
  const [isSlow, setSlow] = useState(false);
  const [isDone, setDone] = useState(false);
  const { data, dataUpdatedAt, errorUpdatedAt } = useQuery({
    ...proxiesQuery,
    // What is known already may be from before the change.
    refetchOnMount: 'always',
    refetchInterval: isDone ? false : 400,
  });
  const state = data ? inForce(data, change.revision) : { inForce: 0, connected: 0 };
  if (!isDone && data && state.inForce === state.connected) setDone(true);

  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    return () => clearTimeout(timer);
  }, []);
  useEffect(() => {
    if (!isDone) return;
    const timer = setTimeout(() => onShown(change), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isDone, change, onShown]);

  // No news of the proxies is no fault of theirs.
  const isUnasked =
    errorUpdatedAt > dataUpdatedAt || (isSlow && dataUpdatedAt < change.since + SLOW_MS / 2);
  const isUnknown = isUnasked && !isDone;
  if (!data && !isUnknown) return null;
  const Icon = isDone ? CircleCheck : isSlow || isUnknown ? TriangleAlert : LoaderCircle;
  const says = isUnknown
    ? rollout.unknown
    : isDone
      ? state.connected > 0
        ? rollout.done(state.connected)
        : rollout.noProxies
      : rollout.waiting(state.inForce, state.connected);
  return (
    <div className="flex items-start gap-2 rounded-lg border border-line bg-surface px-3 py-2 shadow-lg">
      <Icon
        aria-hidden
        className={`mt-0.5 size-4 shrink-0 ${isDone ? 'text-good' : isSlow || isUnknown ? 'text-warn' : 'animate-spin text-muted'}`}
      />
      <p>
        <span>{says}</span>
        {isSlow && !isDone && !isUnknown && (
          <>
            {' '}
            {rollout.slow}{' '}
            <Link to="/proxies" className="text-accent underline underline-offset-2">
              {rollout.look}
            </Link>
          </>
        )}
      </p>
    </div>
  );
}
