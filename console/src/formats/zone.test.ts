import { describe, expect, test } from 'vitest';

import type { BucketType } from '@/api/schema';

import { bucketStarts, dayOf, startOf, startOfDay } from './zone';

const starts = (bucket: BucketType, from: string, to: string, zone: string) =>
  bucketStarts(bucket, new Date(from), new Date(to), zone).map((start) => start.toISOString());

describe('days begin at midnight of the zone', () => {
  test.each([
    ['Asia/Seoul', '2026-11-20', '2026-11-19T15:00:00.000Z'],
    ['UTC', '2026-11-20', '2026-11-20T00:00:00.000Z'],
    ['Asia/Kolkata', '2026-02-01', '2026-01-31T18:30:00.000Z'],
    ['Europe/Berlin', '2026-10-25', '2026-10-24T22:00:00.000Z'],
    ['Europe/Berlin', '2026-10-26', '2026-10-25T23:00:00.000Z'],
    // There the clock went from midnight to one.
    ['America/Sao_Paulo', '2018-11-04', '2018-11-04T03:00:00.000Z'],
  ])('%s %s', (zone, date, start) => {
    expect(startOfDay(date, zone).toISOString()).toBe(start);
  });
});

test('a date is that of the zone', () => {
  const at = new Date('2026-11-20T18:00:00Z');
  expect(dayOf(at, 'UTC')).toBe('2026-11-20');
  expect(dayOf(at, 'Asia/Seoul')).toBe('2026-11-21');
  expect(dayOf(at, 'Asia/Seoul', -21)).toBe('2026-10-31');
});

test('days of a month in which clocks change follow one another', () => {
  const days = starts('day', '2026-10-23T22:00:00Z', '2026-10-26T23:00:00Z', 'Europe/Berlin');
  expect(days).toEqual([
    '2026-10-23T22:00:00.000Z',
    '2026-10-24T22:00:00.000Z',
    '2026-10-25T23:00:00.000Z',
  ]);
});

test('hours are those of the clock, also where they are half past in UTC', () => {
  const hours = starts('hour', '2026-11-20T01:10:00Z', '2026-11-20T03:00:00Z', 'Asia/Kolkata');
  expect(hours).toEqual([
    '2026-11-20T00:30:00.000Z',
    '2026-11-20T01:30:00.000Z',
    '2026-11-20T02:30:00.000Z',
  ]);
});

test('a day on which clocks go back has 25 hours', () => {
  const hours = starts('hour', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z', 'Europe/Berlin');
  expect(hours).toHaveLength(25);
});

test('weeks begin on Sunday and months on the first', () => {
  const at = new Date('2026-11-19T12:00:00Z');
  expect(startOf('week', at, 'UTC').toISOString()).toBe('2026-11-15T00:00:00.000Z');
  expect(starts('month', '2026-11-19T12:00:00Z', '2027-01-02T00:00:00Z', 'UTC')).toEqual([
    '2026-11-01T00:00:00.000Z',
    '2026-12-01T00:00:00.000Z',
    '2027-01-01T00:00:00.000Z',
  ]);
});
