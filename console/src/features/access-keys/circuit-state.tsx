import { RotateCcw } from 'lucide-react';

import type { AccessKeyWithCircuit, RoutingStrategy } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Button } from '@/components/ui/button';
import { useNotify } from '@/components/ui/notices';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { useResetCircuit } from './api';

interface CircuitStateProps {
  accessKey: AccessKeyWithCircuit;
  routing_strategy: RoutingStrategy;
}

/** Who answers a key's next request first; and for how long, if it is not the plan. */
export function CircuitState({ accessKey, routing_strategy }: CircuitStateProps) {
  const { circuit: says } = useMessages();
  const formats = useFormats();
  const notify = useNotify();
  const reset = useResetCircuit(accessKey.id);
  const { circuit } = accessKey;
  if (routing_strategy === 'bedrock_only') return <Badge>{says.bedrockOnly}</Badge>;
  if (!circuit) return <Badge tone="good">{says.closed}</Badge>;
  return (
    <div className="flex flex-wrap items-center gap-1.5">
      <Badge tone="warn">{says[circuit.state]}</Badge>
      <Button
        variant="quiet"
        size="small"
        disabled={reset.isPending}
        onClick={() => reset.mutate(undefined, { onSuccess: () => notify(says.wasReset) })}
      >
        <RotateCcw aria-hidden />
        {says.reset}
      </Button>
      <p className="w-full text-xs text-muted">
        {says.openUntil(formats.dateTime(circuit.open_until))}, {says.causes[circuit.cause]}
      </p>
    </div>
  );
}
