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
  expect(inForce(proxies, 9)).toEqual({ inForce: 1, connected: 4, silent: [] });
  expect(inForce(proxies, 7)).toEqual({ inForce: 2, connected: 4, silent: [] });
});

test('a silent proxy may serve on by an older revision, or by one of another epoch', () => {
  const older = proxy(false, 'e', 8);
  const other = proxy(false, 'old', 12);
  const proxies = list(proxy(true, 'e', 9), older, other, proxy(false, null, null));
  expect(inForce(proxies, 9)).toEqual({ inForce: 1, connected: 1, silent: [older, other] });
  expect(inForce(proxies, 8).silent).toEqual([other]);
});

test('without proxies nothing is in force anywhere', () => {
  expect(inForce(list(), 9)).toEqual({ inForce: 0, connected: 0, silent: [] });
});
