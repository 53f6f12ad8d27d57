import type { IssuedAccessKey, RoutingStrategy } from '@/api/schema';
import { useKeep } from '@/components/ui/kept';

import { IssuedKey } from './issued-key';

/** Shows a new key, whatever has become of the page on which it was asked for. */
export function useReveal(routing_strategy: RoutingStrategy): (issued: IssuedAccessKey) => void {
  const keep = useKeep();
  return (issued) =>
    keep((onClose) => (
      <IssuedKey issued={issued} routing_strategy={routing_strategy} onClose={onClose} />
    ));
}
