/** The newest change of ours that proxies must know of. Control says so with its answer. */

import { useSyncExternalStore } from 'react';

export interface ConfigRevision {
  revision: number;
  /** When it was made. */
  since: number;
}

let newest: ConfigRevision | null = null;
const listeners = new Set<() => void>();

export function announce(revision: number) {
  if (newest && newest.revision >= revision) return;
  newest = { revision, since: Date.now() };
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useConfigRevision = () => useSyncExternalStore(subscribe, () => newest);
