import { notifyManager, useQueryClient } from '@tanstack/react-query';
import { TriangleAlert } from 'lucide-react';
import { useCallback, useSyncExternalStore } from 'react';

import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { explain } from './problem';

/** Of all that is shown and could not be refreshed, what is oldest. */
function useStale() {
  const cache = useQueryClient().getQueryCache();
  const subscribe = useCallback(
    (onChange: () => void) => cache.subscribe(notifyManager.batchCalls(onChange)),
    [cache],
  );
  return useSyncExternalStore(subscribe, () =>
    cache
      .findAll({ type: 'active' })
      .map(({ state }) => state)
      .filter(({ status, data }) => status === 'error' && data !== undefined)
      .reduce(
        (oldest, state) => (oldest && oldest.dataUpdatedAt <= state.dataUpdatedAt ? oldest : state),
        null as StaleState,
      ),
  );
}

type StaleState = { dataUpdatedAt: number; error: unknown } | null;

/** Says that what a page shows is old, since when, and why. */
export function Stale() {
  const messages = useMessages();
  const formats = useFormats();
  const stale = useStale();
  return (
    <div role="status">
      {stale && (
        <p className="mb-4 flex gap-2 rounded-lg bg-warn-soft px-3 py-2 text-warn">
          <TriangleAlert aria-hidden className="mt-0.5 size-4 shrink-0" />
          {messages.state.stale(formats.exactTime(new Date(stale.dataUpdatedAt)))}{' '}
          {explain(stale.error, messages)}
        </p>
      )}
    </div>
  );
}
