import type { ProxyList } from '@/api/schema';

/**
 * How many of the connected proxies have applied a revision, and which silent ones have not:
 * those may be cut off, and still answer by what they know.
 */
export function inForce({ head, items }: ProxyList, revision: number) {
  const connected = items.filter((proxy) => proxy.is_connected);
  const isApplied = ({ applied_epoch, applied_revision }: (typeof items)[number]) =>
    applied_epoch === head.epoch && (applied_revision ?? -1) >= revision;
  return {
    inForce: connected.filter(isApplied).length,
    connected: connected.length,
    // One that has applied nothing knows no key.
    silent: items.filter(
      (proxy) =>
        !proxy.is_connected && typeof proxy.applied_revision === 'number' && !isApplied(proxy),
    ),
  };
}
