import { expect, test } from 'vitest';

import type { Proxy, ProxyList } from '@/api/schema';

import { inForce } from './in-force';

const proxy = (
  is_connected: boolean,
  applied_epoch: string | null,
  applied_revision: number | null,
) => ({ is_connected, applied_epoch, applied_revision }) as Proxy;

const list = (...items: Proxy[]) => ({ head: { epoch: 'e', revision: 9 }, items }) as ProxyList;

test('only connected proxies count, and only with this revision of this epoch', () => {
  const proxies = list(
    proxy(true, 'e', 9),
    proxy(true, 'e', 7),
    proxy(true, 'old', 12),
    proxy(true, null, null),
    proxy(false, 'e', 9),
  );
  expect(inForce(proxies, 9)).toEqual({ inForce: 1, connected: 4 });
  expect(inForce(proxies, 7)).toEqual({ inForce: 2, connected: 4 });
});

test('without proxies nothing is in force anywhere', () => {
  expect(inForce(list(), 9)).toEqual({ inForce: 0, connected: 0 });
});
