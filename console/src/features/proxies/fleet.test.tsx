// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render, screen, within } from '@testing-library/react';
import { expect, test } from 'vitest';

import type { Proxy, ProxyList } from '@/api/schema';
import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { proxiesQuery } from './api';
import { Fleet } from './fleet';

const proxy = (address: string, is_connected: boolean, revisions_behind: number) =>
  ({
    instance_id: address,
    address,
    is_connected,
    revisions_behind,
    is_behind: revisions_behind > 0,
    applied_epoch: 'e',
    applied_revision: 9 - revisions_behind,
    rejected: [] as Proxy['rejected'],
    reported_at: '2026-11-20T12:00:00Z',
  }) as Proxy;

function show(...items: Proxy[]) {
  const client = new QueryClient({ defaultOptions: { queries: { staleTime: Infinity } } });
  client.setQueryData(proxiesQuery.queryKey, {
    head: { epoch: 'e', revision: 9 },
    summary: { connected: 1, in_force: 1 },
    items,
  } as ProxyList);
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <QueryClientProvider client={client}>
        <FormatsContext value={formatsIn('en', 'UTC')}>
          <Fleet />
        </FormatsContext>
      </QueryClientProvider>
    </MessagesProvider>,
  );
  return screen.getByText('1 / 1').className;
}

test('a silent proxy that lacks the newest change is no good news', () => {
  expect(show(proxy('a', true, 0), proxy('b', false, 2))).toContain('text-warn');
  expect(screen.getByText(/^1 silent proxy may still answer by the revision/)).toBeDefined();
  const row = screen.getByRole('row', { name: /Silent/ });
  expect(within(row).getByText('2 behind')).toBeDefined();
});

test('one that has it, is', () => {
  expect(show(proxy('a', true, 0), proxy('b', false, 0))).toContain('text-good');
  expect(screen.queryByText(/may still answer/)).toBeNull();
});
