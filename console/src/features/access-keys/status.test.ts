import { expect, test } from 'vitest';

import { statusOf } from './status';

const now = new Date('2026-11-20T12:00:00Z');

test.each([
  [{ status: 'active' }, 'active'],
  [{ status: 'active', expires_at: '2026-11-20T12:00:01Z' }, 'active'],
  [{ status: 'active', expires_at: '2026-11-20T12:00:00Z' }, 'expired'],
  [{ status: 'rotating', rotation_expires_at: '2026-11-20T12:05:00Z' }, 'rotating'],
  [{ status: 'rotating', rotation_expires_at: '2026-11-20T11:59:00Z' }, 'expired'],
  [{ status: 'revoked', expires_at: '2026-11-19T00:00:00Z' }, 'revoked'],
] as const)('%o is %s', (key, status) => {
  expect(statusOf(key, now)).toBe(status);
});
