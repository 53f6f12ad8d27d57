import { expect, test } from 'vitest';

import { formatsIn } from './formats';

const formats = formatsIn('en', 'Asia/Seoul');

test('less than a cent is not shown as nothing', () => {
  expect(formats.usd('0')).toBe('$0.00');
  expect(formats.usd('0.003924')).toBe('$0.0039');
  expect(formats.usd('12.345')).toBe('$12.35');
  expect(formats.usd('-3')).toBe('-$3.00');
});

test('times are those of the zone', () => {
  expect(formats.time('2026-11-20T15:30:05Z')).toBe('00:30:05');
  expect(formats.date('2026-11-20T15:30:05Z')).toBe('Nov 21, 2026');
});

test('the past is told by its distance', () => {
  const now = new Date('2026-11-20T12:00:00Z');
  expect(formats.ago('2026-11-20T11:57:00Z', now)).toBe('3 minutes ago');
  expect(formats.ago('2026-11-18T12:00:00Z', now)).toBe('2 days ago');
  expect(formats.ago('2026-11-20T12:00:04Z', now)).toBe('now');
  expect(formats.ago(now, now)).toBe('now');
});

test('what is left runs down to nothing', () => {
  const until = '2026-11-20T12:05:00Z';
  expect(formats.remaining(until, new Date('2026-11-20T12:00:53Z'))).toBe('4:07');
  expect(formats.remaining(until, new Date('2026-11-20T13:00:00Z'))).toBe('0:00');
  expect(formats.remaining(until, new Date('2026-11-20T10:59:55Z'))).toBe('1:05:05');
});
