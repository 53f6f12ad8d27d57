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
/** What somebody may have to do something about is shown for longer. */
const SILENT_SHOWN_MS = 10_000;

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
  const state = data ? inForce(data, change.revision) : { inForce: 0, connected: 0, silent: [] };
  const silent = state.silent.length;
  if (!isDone && data && state.inForce === state.connected) setDone(true);

  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    return () => clearTimeout(timer);
  }, []);
  useEffect(() => {
    if (!isDone) return;
    const timer = setTimeout(() => onShown(change), silent > 0 ? SILENT_SHOWN_MS : SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isDone, silent, change, onShown]);

  // No news of the proxies is no fault of theirs.
  const isUnasked =
    errorUpdatedAt > dataUpdatedAt || (isSlow && dataUpdatedAt < change.since + SLOW_MS / 2);
  const isUnknown = isUnasked && !isDone;
  if (!data && !isUnknown) return null;
  const isFine = isDone && silent === 0;
  const isDoubtful = !isFine && (isDone || isSlow || isUnknown);
  const Icon = isFine ? CircleCheck : isDoubtful ? TriangleAlert : LoaderCircle;
  return (
    <div className="flex items-start gap-2 rounded-lg border border-line bg-surface px-3 py-2 shadow-lg">
      <Icon
        aria-hidden
        className={`mt-0.5 size-4 shrink-0 ${isFine ? 'text-good' : isDoubtful ? 'text-warn' : 'animate-spin text-muted'}`}
      />
      <p>
        <span>{isUnknown ? rollout.unknown : said()}</span>
        {isDone && silent > 0 && (
          <>
            {' '}
            <span>{rollout.silent(silent)}</span>
          </>
        )}
        {isDoubtful && !isUnknown && (
          <>
            {' '}
            {!isDone && `${rollout.slow} `}
            <Link to="/proxies" className="text-accent underline underline-offset-2">
              {rollout.look}
            </Link>
          </>
        )}
      </p>
    </div>
  );

  function said(): string {
    const { inForce, connected } = state;
    if (!isDone) return rollout.waiting(inForce, connected);
    return connected > 0 ? rollout.done(connected) : rollout.noProxies;
  }
}
