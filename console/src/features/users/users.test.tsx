// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render, screen } from '@testing-library/react';
import { MemoryRouter, useLocation } from 'react-router';
import { expect, test, vi } from 'vitest';

import type { User } from '@/api/schema';
import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { Users } from './users';

// Before the client is made, which keeps the `fetch` that it finds.
const control = vi.hoisted(() => {
  const stored: { users: unknown[] } = { users: [] };
  globalThis.fetch = (request) => {
    const { searchParams } = new URL((request as Request).url);
    const offset = Number(searchParams.get('offset'));
    const items = stored.users.slice(offset, offset + Number(searchParams.get('limit')));
    return Promise.resolve(Response.json({ items, total: stored.users.length }));
  };
  return stored;
});

const users = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    id: `u${index + 1}`,
    name: `User ${index + 1}`,
    status: 'active',
    routing_strategy: 'plan_first',
    active_access_keys: 2,
    current_usage_usd: '0',
    created_at: '2026-11-20T12:00:00Z',
  })) satisfies Partial<User>[];

function Address() {
  return <output>{useLocation().search}</output>;
}

function open(search: string) {
  render(
    <MemoryRouter initialEntries={[`/users${search}`]}>
      <MessagesProvider spoken={{ language: 'en', messages: en }}>
        <QueryClientProvider client={new QueryClient()}>
          <FormatsContext value={formatsIn('en', 'UTC')}>
            <Users />
            <Address />
          </FormatsContext>
        </QueryClientProvider>
      </MessagesProvider>
    </MemoryRouter>,
  );
}

test('a page beyond the last leads to the last', async () => {
  control.users = users(51);
  open('?sort=name&page=9');
  expect(await screen.findByRole('link', { name: 'User 51' })).toBeDefined();
  expect(screen.getByText('51–51 of 51')).toBeDefined();
  expect(screen.getAllByRole('status').map(({ textContent }) => textContent)).toContain(
    '?sort=name&page=2',
  );
});

test('only where nobody is are there no users yet', async () => {
  control.users = [];
  open('?page=9');
  expect(await screen.findByText('No users yet')).toBeDefined();
});
