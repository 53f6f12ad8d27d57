import type { StackBy } from '@/api/schema';
import { useMessages } from '@/messages/messages';

/** A key as far as its usage is told. */
export interface UsedKey {
  id: string;
  /** What it is called. */
  label: string;
}

const isKey = <Names extends object>(names: Names, key: PropertyKey): key is keyof Names =>
  key in names;

/** What models, providers and outcomes are called. Newer ones than ours keep their own names. */
export function useLabels(keys: UsedKey[] = []) {
  const { chart, provider, outcome, userUsage } = useMessages();
  return {
    model: (id: string) => id || chart.unnamed,
    access_key: (id: string) => keys.find((key) => key.id === id)?.label ?? userUsage.otherKey,
    provider: (id: string) => (isKey(provider, id) ? provider[id] : id),
    outcome: (id: string) => (isKey(outcome, id) ? outcome[id] : id),
  } satisfies Record<StackBy | 'outcome', (id: string) => string>;
}
