// @vitest-environment jsdom
import { render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test } from 'vitest';

import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { ChartCard } from './chart-card';

test('behind a chart is a table with the same numbers', async () => {
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <ChartCard
        title="Cost"
        name="cost"
        table={{
          columns: [{ name: 'Time' }, { name: 'Plan', format: (value) => `$${value}` }],
          rows: [
            ['Monday', 1.5],
            ['Tuesday', 0],
          ],
        }}
      >
        <p>a chart</p>
      </ChartCard>
    </MessagesProvider>,
  );
  expect(screen.getByText('a chart')).toBeDefined();
  await userEvent.click(screen.getByRole('button', { name: 'Cost: Table' }));
  expect(screen.queryByText('a chart')).toBeNull();
  const rows = screen.getAllByRole('row').slice(1);
  expect(rows.map((row) => within(row).getByRole('cell').textContent)).toEqual(['$1.5', '$0']);
});
