import { describe, expect, test } from 'vitest';

import { asked, ofAllModels, readFilters, withFilters } from './filters';

const now = new Date('2026-11-27T16:20:00Z');
const zone = 'Asia/Seoul';
const ask = (search: string) => asked(readFilters(new URLSearchParams(search)), now, zone);

describe('ranges are whole buckets of the zone', () => {
  test('a day is 24 hours, the running one included', () => {
    expect(ask('range=day')).toEqual({
      query: { from: '2026-11-26T17:00:00.000Z' },
      bucket: 'hour',
      stack_by: 'provider',
      isCurrent: true,
    });
  });

  test('a week is seven days, today included, which has begun in Seoul', () => {
    expect(ask('')).toMatchObject({
      query: { start_date: '2026-11-22', end_date: '2026-11-28' },
      bucket: 'day',
    });
  });

  test.each([
    ['from=2026-11-01&to=2026-11-02', 'hour'],
    ['from=2026-10-01&to=2026-11-20', 'day'],
    ['from=2026-01-01&to=2026-11-20', 'week'],
    ['from=2024-01-01&to=2026-11-20', 'month'],
  ])('%s is shown by the %s', (range, bucket) => {
    expect(ask(`range=custom&${range}`)).toMatchObject({ bucket, isCurrent: false });
  });

  test('days the wrong way round are turned, and what is no day is today', () => {
    expect(ask('range=custom&from=2026-11-20&to=2026-11-03').query).toMatchObject({
      start_date: '2026-11-03',
      end_date: '2026-11-20',
    });
    expect(ask('range=custom&from=yesterday').query).toMatchObject({ start_date: '2026-11-28' });
    // No such day.
    expect(readFilters(new URLSearchParams('range=custom&from=2026-02-30')).from).toBeNull();
    expect(readFilters(new URLSearchParams('range=custom&from=2028-02-29')).from).toBe(
      '2028-02-29',
    );
  });
});

test('filters are passed on, a key only together with its user', () => {
  expect(ask('model=m&provider=plan&access_key_id=k').query).toMatchObject({
    model: 'm',
    provider: 'plan',
  });
  expect(ask('access_key_id=k').query).not.toHaveProperty('access_key_id');
  expect(ask('provider=else').query).not.toHaveProperty('provider');
});

test('of all models, everything else is asked for as before', () => {
  expect(ofAllModels(ask('model=m&provider=plan&by=model'))).toEqual(ask('provider=plan&by=model'));
  expect(ofAllModels(ask('user_id=u'))).toEqual(ask('user_id=u'));
});

test('charts are stacked as the address says, if it can be', () => {
  expect(ask('by=model').stack_by).toBe('model');
  expect(ask('by=weather').stack_by).toBe('provider');
});

test('a change leaves the rest of the address alone', () => {
  const search = withFilters(new URLSearchParams('by=model&user_id=u'), {
    user_id: null,
    model: 'm',
  });
  expect(search.toString()).toBe('by=model&model=m');
});

test('by access key are the charts of a user only', () => {
  expect(readFilters(new URLSearchParams('by=access_key&user_id=u1')).by).toBe('access_key');
  expect(readFilters(new URLSearchParams('by=access_key')).by).toBe('provider');
});
