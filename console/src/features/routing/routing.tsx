import { RadioGroup } from 'radix-ui';

import type { AccessKeyWithCircuit, RoutingStrategy, User } from '@/api/schema';
import { Card } from '@/components/ui/card';
import { useNotify } from '@/components/ui/notices';
import { ProblemNote } from '@/components/ui/problem';
import { useSettings } from '@/features/settings/api';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { useRouteUser } from './api';
import { obstacle } from './obstacle';

const STRATEGIES: RoutingStrategy[] = ['plan_first', 'bedrock_only'];

interface RoutingProps {
  user: User;
  keys: AccessKeyWithCircuit[];
}

/** Where a user's requests go: two choices, explained. */
export function Routing({ user, keys }: RoutingProps) {
  const { routing: says } = useMessages();
  const notify = useNotify();
  const route = useRouteUser(user.id);
  const why = useReason(user, keys);
  const choose = (chosen: string) => {
    const strategy = STRATEGIES.find((it) => it === chosen);
    if (!strategy || strategy === user.routing_strategy || route.isPending) return;
    route.mutate(strategy, { onSuccess: () => notify(says.changed(says.strategy[strategy])) });
  };
  return (
    <Card title={says.title}>
      <RadioGroup.Root
        aria-label={says.title}
        value={(route.isPending && route.variables) || user.routing_strategy}
        onValueChange={choose}
        className="grid gap-3"
      >
        {STRATEGIES.map((strategy) => {
          const reason = strategy === user.routing_strategy ? null : why[strategy];
          return (
            <RadioGroup.Item
              key={strategy}
              value={strategy}
              disabled={reason !== null}
              // Arrows only lead there: choosing takes effect at once, so it has a key of its own.
              onFocus={(event) => event.preventDefault()}
              className="group rounded-lg border border-line p-3 text-left enabled:hover:border-line-strong disabled:cursor-not-allowed data-[state=checked]:border-accent data-[state=checked]:bg-accent-soft"
            >
              <span className="flex items-center gap-2 font-medium">
                <span className="flex size-4 items-center justify-center rounded-full border border-line-strong group-data-[state=checked]:border-accent">
                  <RadioGroup.Indicator className="size-2 rounded-full bg-accent" />
                </span>
                {says.strategy[strategy]}
              </span>
              <span className="mt-1 block pl-6 text-muted">{says.explained[strategy]}</span>
              {reason && <span className="mt-1 block pl-6 text-warn">{reason}</span>}
            </RadioGroup.Item>
          );
        })}
      </RadioGroup.Root>
      <ProblemNote error={route.error} />
    </Card>
  );
}

/** Why a strategy cannot be chosen; null when it can. */
function useReason(
  user: User,
  keys: AccessKeyWithCircuit[],
): Record<RoutingStrategy, string | null> {
  const { routing: says } = useMessages();
  const { bedrock_use_role } = useSettings();
  const now = useNow();
  if (user.status !== 'active') return { plan_first: says.inactive, bedrock_only: says.inactive };
  const found = obstacle(keys, bedrock_use_role, now);
  const reason =
    found?.kind === 'no_keys'
      ? says.noKeys
      : found && says.missingCredentials(found.missing, found.working);
  return { plan_first: null, bedrock_only: reason };
}
