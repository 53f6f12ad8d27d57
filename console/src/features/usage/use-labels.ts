import type { StackBy } from '@/api/schema';
import { useMessages } from '@/messages/messages';

const isKey = <Names extends object>(names: Names, key: PropertyKey): key is keyof Names =>
  key in names;

/** What models, providers and outcomes are called. Newer ones than ours keep their own names. */
export function useLabels() {
  const { chart, provider, outcome } = useMessages();
  return {
    model: (id: string) => id || chart.unnamed,
    access_key: (id: string) => id,
    provider: (id: string) => (isKey(provider, id) ? provider[id] : id),
    outcome: (id: string) => (isKey(outcome, id) ? outcome[id] : id),
  } satisfies Record<StackBy | 'outcome', (id: string) => string>;
}
