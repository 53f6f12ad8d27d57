import type { ProxyList } from '@/api/schema';

/** How many of the connected proxies have applied a revision. */
export function inForce({ head, items }: ProxyList, revision: number) {
  const connected = items.filter((proxy) => proxy.is_connected);
  const done = connected.filter(
    ({ applied_epoch, applied_revision }) =>
      applied_epoch === head.epoch && (applied_revision ?? -1) >= revision,
  );
  return { inForce: done.length, connected: connected.length };
}
