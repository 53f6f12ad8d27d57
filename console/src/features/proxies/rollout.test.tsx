// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { act, render, screen } from '@testing-library/react';
import { MemoryRouter } from 'react-router';
import { expect, test, vi } from 'vitest';

import { announce } from '@/api/config-revision';
import type { Proxy, ProxyList } from '@/api/schema';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { Rollout } from './rollout';

// Before the client is made, which keeps the `fetch` that it finds.
const control = vi.hoisted(() => {
  const answers: { proxies: unknown } = { proxies: null };
  globalThis.fetch = () =>
    answers.proxies
      ? Promise.resolve(Response.json(answers.proxies))
      : Promise.reject(new TypeError('Failed to fetch'));
  return answers;
});

const fleet = (...revisions: number[]) =>
  ({
    head: { epoch: 'e', revision: 8 },
    items: revisions.map(
      (applied_revision) => ({ is_connected: true, applied_epoch: 'e', applied_revision }) as Proxy,
    ),
  }) as ProxyList;

function show() {
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  render(
    <MemoryRouter>
      <MessagesProvider spoken={{ language: 'en', messages: en }}>
        <QueryClientProvider client={client}>
          <Rollout />
        </QueryClientProvider>
      </MessagesProvider>
    </MemoryRouter>,
  );
}

test('a change is followed until every proxy has it', async () => {
  control.proxies = fleet(7, 8);
  show();
  expect(screen.queryByText(/In force/)).toBeNull();
  act(() => announce(8));
  expect(await screen.findByText('In force on 1 of 2 proxies…')).toBeDefined();
  control.proxies = fleet(8, 9);
  expect(await screen.findByText('In force on 2 of 2 proxies.')).toBeDefined();
});

test('a proxy that is cut off is told of, and nothing is green', async () => {
  const cutOff = { is_connected: false, applied_epoch: 'e', applied_revision: 9 } as Proxy;
  const connected = fleet(10);
  control.proxies = { ...connected, items: [...connected.items, cutOff] };
  show();
  act(() => announce(10));
  const note = await screen.findByText(en.rollout.silent(1));
  expect(note.textContent).toMatch(/^1 silent proxy, if still running,/);
  expect(screen.getByText(en.rollout.done(1))).toBeDefined();
  expect(screen.getByRole('link', { name: 'See proxies' })).toBeDefined();
  expect(document.querySelector('.text-good')).toBeNull();
});

test('proxies are not blamed for a control that cannot be asked', async () => {
  control.proxies = null;
  show();
  act(() => announce(11));
  expect(await screen.findByText(en.rollout.unknown)).toBeDefined();
  expect(screen.queryByText(en.rollout.slow)).toBeNull();
  control.proxies = fleet(11, 11);
  expect(await screen.findByText('In force on 2 of 2 proxies.')).toBeDefined();
});
