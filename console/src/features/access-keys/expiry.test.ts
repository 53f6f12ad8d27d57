import { expect, test } from 'vitest';

import { expiresAt } from './expiry';

const now = new Date('2026-11-20T12:00:00Z');

test('a key works until the end of its last day, where the company is', () => {
  expect(expiresAt('custom', '2026-12-24', now, 'Asia/Seoul')).toBe('2026-12-24T15:00:00.000Z');
  expect(expiresAt('custom', '2026-10-25', now, 'Europe/Berlin')).toBe('2026-10-25T23:00:00.000Z');
});

test('or for a number of days, or for ever', () => {
  expect(expiresAt('30', '', now, 'UTC')).toBe('2026-12-20T12:00:00.000Z');
  expect(expiresAt('never', '', now, 'UTC')).toBeNull();
});
