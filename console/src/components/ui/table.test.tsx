// @vitest-environment jsdom
import { render, screen, within } from '@testing-library/react';
import { expect, test, vi } from 'vitest';

import { Table } from './table';

const planets = [
  { name: 'Mercury', moons: 0 },
  { name: 'Mars', moons: 2 },
];

const table = () => (
  <Table
    label="Planets"
    columns={[
      { name: 'Name', cell: ({ name }) => name },
      { name: 'Moons', numeric: true, cell: ({ moons }) => moons },
    ]}
    items={planets}
    keyOf={({ name }) => name}
    below={({ moons }) => moons > 0 && 'has moons'}
  />
);

test('rows are stacked where a table has no room, and are a table again where it has', () => {
  // jsdom lays nothing out.
  let [room, needed] = [300, 500];
  vi.spyOn(Element.prototype, 'clientWidth', 'get').mockImplementation(() => room);
  vi.spyOn(Element.prototype, 'scrollWidth', 'get').mockImplementation(() => needed);
  const { container, rerender } = render(table());
  const isStacked = () => container.querySelector('[data-stacked]') !== null;
  expect(isStacked()).toBe(true);
  // A table that is stacked needs no more than there is.
  [room, needed] = [499, 499];
  rerender(table());
  expect(isStacked()).toBe(true);
  [room, needed] = [500, 500];
  rerender(table());
  expect(isStacked()).toBe(false);
});

test('the first column names its row, and a cell knows its column', () => {
  render(table());
  const row = screen.getByRole('row', { name: 'Mars 2' });
  expect(within(row).getByRole('rowheader').textContent).toBe('Mars');
  expect(within(row).getByRole('cell').dataset.name).toBe('Moons');
  expect(screen.getAllByText('has moons')).toHaveLength(1);
});
