import { expect, test } from 'vitest';

import { lastPage, readListSearch, sortedBy, usersQueryOf, withListSearch } from './list-search';

const read = (search: string) => readListSearch(new URLSearchParams(search));

test('an address without anything is the first page, newest first', () => {
  expect(usersQueryOf(read(''))).toEqual({
    sort: 'created_at',
    order: 'desc',
    offset: 0,
    limit: 50,
  });
});

test('nonsense is as nothing', () => {
  expect(read('sort=password&status=deleted&page=-3&order=up')).toEqual(read(''));
});

test('pages are counted from one', () => {
  expect(read('page=3').offset).toBe(100);
  expect(withListSearch(new URLSearchParams('search=a'), { offset: 100 }).toString()).toBe(
    'search=a&page=3',
  );
});

test.each([
  [0, 0],
  [1, 0],
  [50, 0],
  [51, 50],
  [100, 50],
  [101, 100],
])('the last page of %i users begins after %i', (total, offset) => {
  expect(lastPage(total)).toBe(offset);
});

test('another search leads to the first page', () => {
  const next = withListSearch(new URLSearchParams('search=a&page=3&sort=name'), { search: '' });
  expect(next.toString()).toBe('sort=name');
});

test('a column is sorted the other way round the second time', () => {
  expect(sortedBy('name', read(''))).toEqual({ sort: 'name', order: 'asc' });
  expect(sortedBy('name', read('sort=name&order=asc'))).toEqual({ sort: 'name', order: 'desc' });
  expect(sortedBy('last_seen_at', read('sort=name&order=asc')).order).toBe('desc');
});
