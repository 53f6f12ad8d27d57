import { expect, test } from 'vitest';

import { choiceOf, expiresAt, isSameChoice, type Expiry } from './expiry';

const now = new Date('2026-11-20T12:00:00Z');
const at = (expiry: Expiry, lastDay: string, zone: string) =>
  expiresAt({ expiry, lastDay }, now, zone);

test('a key works until the end of its last day, where the company is', () => {
  expect(at('custom', '2026-12-24', 'Asia/Seoul')).toBe('2026-12-24T15:00:00.000Z');
  expect(at('custom', '2026-10-25', 'Europe/Berlin')).toBe('2026-10-25T23:00:00.000Z');
});

test('or for a number of days, or for ever', () => {
  expect(at('30', '', 'UTC')).toBe('2026-12-20T12:00:00.000Z');
  expect(at('never', '', 'UTC')).toBeNull();
});

test('a key is shown with its last day', () => {
  expect(choiceOf('2026-12-24T15:00:00Z', 'Asia/Seoul')).toEqual({
    expiry: 'custom',
    lastDay: '2026-12-24',
  });
  expect(choiceOf('2026-12-24T15:00:01Z', 'Asia/Seoul').lastDay).toBe('2026-12-25');
  expect(choiceOf(null, 'Asia/Seoul').expiry).toBe('never');
});

test('what was shown and is still chosen is no change', () => {
  const shown = choiceOf('2026-12-24T09:30:00Z', 'UTC');
  expect(isSameChoice(shown, { expiry: 'custom', lastDay: '2026-12-24' })).toBe(true);
  expect(isSameChoice(shown, { expiry: 'custom', lastDay: '2026-12-25' })).toBe(false);
  expect(isSameChoice(shown, { expiry: '30', lastDay: '2026-12-24' })).toBe(false);
  expect(isSameChoice(shown, { expiry: 'never', lastDay: '' })).toBe(false);
  expect(isSameChoice(choiceOf(null, 'UTC'), { expiry: 'never', lastDay: '' })).toBe(true);
});
