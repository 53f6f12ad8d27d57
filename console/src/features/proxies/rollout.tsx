/** After a change: on how many proxies it is in force by now, until it is on all. */

import { useQuery, useQueryClient } from '@tanstack/react-query';
import { CircleCheck, LoaderCircle, TriangleAlert } from 'lucide-react';
import { useCallback, useEffect, useState } from 'react';
import { Link } from 'react-router';

import { useMessages } from '@/messages/messages';

import { proxiesQuery } from './api';
import { inForce } from './in-force';

/** Then somebody should look at the proxies. */
const SLOW_MS = 10_000;
const SHOWN_MS = 5_000;

interface Change {
  revision: number;
  since: number;
}

/** The newest change that proxies must know of. */
function useChange() {
  const client = useQueryClient();
  const [change, setChange] = useState<Change | null>(null);
  useEffect(
    () =>
      client.getMutationCache().subscribe(({ type, mutation }) => {
        const isDone = type === 'updated' && mutation.state.status === 'success';
        if (!isDone || !mutation.options.meta?.reachesProxies) return;
        // The head is read after the commit, so it is this change or a later one.
        void client.fetchQuery({ ...proxiesQuery, staleTime: 0 }).then(({ head }) => {
          setChange({ revision: head.revision, since: Date.now() });
        });
      }),
    [client],
  );
  const forget = useCallback(() => setChange(null), []);
  return { change, forget };
}

export function Rollout() {
  const { rollout } = useMessages();
  const { change, forget } = useChange();
  return (
    <div role="status" aria-label={rollout.label} className="fixed bottom-4 left-4 z-50">
      {change && <Progress key={change.since} change={change} onShown={forget} />}
    </div>
  );
}

function Progress({ change, onShown }: { change: Change; onShown: () => void }) {
  const { rollout } = useMessages();
  const [isSlow, setSlow] = useState(false);
  const [isDone, setDone] = useState(false);
  const { data } = useQuery({ ...proxiesQuery, refetchInterval: isDone ? false : 400 });
  const state = data ? inForce(data, change.revision) : { inForce: 0, connected: 0 };
  if (!isDone && state.inForce === state.connected && data) setDone(true);

  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    return () => clearTimeout(timer);
  }, []);
  useEffect(() => {
    if (!isDone) return;
    const timer = setTimeout(onShown, SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isDone, onShown]);

  const Icon = isDone ? CircleCheck : isSlow ? TriangleAlert : LoaderCircle;
  const says = isDone
    ? state.connected > 0
      ? rollout.done(state.connected)
      : rollout.noProxies
    : rollout.waiting(state.inForce, state.connected);
  return (
    <div className="flex items-center gap-2 rounded-lg border border-line bg-surface px-3 py-2 shadow-lg">
      <Icon
        aria-hidden
        className={`size-4 ${isDone ? 'text-good' : isSlow ? 'text-warn' : 'animate-spin text-muted'}`}
      />
      <span>{says}</span>
      {isSlow && !isDone && (
        <>
          <span>{rollout.slow}</span>
          <Link to="/proxies" className="text-accent underline underline-offset-2">
            {rollout.look}
          </Link>
        </>
      )}
    </div>
  );
}
