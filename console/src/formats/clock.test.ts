import { afterEach, expect, test, vi } from 'vitest';

import { hearTime, timeNow } from './clock';

const HERE = new Date('2026-11-20T15:00:00.400Z');

vi.useFakeTimers({ now: HERE });
afterEach(() => hearTime(HERE.toUTCString()));

test('a clock that is hours ahead is put right by control', () => {
  hearTime('Fri, 20 Nov 2026 12:00:00 GMT');
  expect(timeNow()).toEqual(new Date('2026-11-20T12:00:00Z'));
});

test('one that is behind, too, and what is late in coming does not move it', () => {
  hearTime('Fri, 20 Nov 2026 16:00:00 GMT');
  hearTime('Fri, 20 Nov 2026 15:59:58 GMT');
  expect(timeNow()).toEqual(new Date('2026-11-20T16:00:00Z'));
});

test.each([null, 'soon', 'Fri, 20 Nov 2026 14:59:57 GMT'])(
  'an answer that says %s leaves a clock alone',
  (date) => {
    hearTime(date);
    expect(timeNow()).toEqual(HERE);
  },
);
