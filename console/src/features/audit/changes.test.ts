import { expect, test } from 'vitest';

import { changes } from './changes';

test('only what differs is told', () => {
  expect(changes({ name: 'Ada', status: 'active' }, { name: 'Ada', status: 'inactive' })).toEqual([
    { field: 'status', before: 'active', after: 'inactive' },
  ]);
});

test('what was made had nothing before, and what was deleted has nothing after', () => {
  expect(changes(null, { name: 'Ada', description: null })).toEqual([
    { field: 'name', before: null, after: 'Ada' },
  ]);
  expect(changes({ name: 'Ada' }, null)).toEqual([{ field: 'name', before: 'Ada', after: null }]);
});

test('lists and objects are compared by what is in them', () => {
  expect(changes({ list: [1, 2] }, { list: [1, 2] })).toEqual([]);
});
