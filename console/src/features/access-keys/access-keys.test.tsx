// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render, screen } from '@testing-library/react';
import { expect, test, vi } from 'vitest';

import type { AccessKeyWithCircuit, User } from '@/api/schema';
import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { accessKeysQuery } from './api';
import { AccessKeys } from './access-keys';

const HOUR_MS = 3_600_000;

const control = vi.hoisted(() => {
  const answer = { at: new Date(0), status: 'rotating', rotation_expires_at: '' };
  // Before the client is made, which keeps the `fetch` that it finds.
  globalThis.fetch = () => {
    const { at, ...key } = answer;
    const items = [{ id: 'k1', name: 'laptop', key_prefix: 'ak_1', ...key }];
    return Promise.resolve(Response.json({ items }, { headers: { date: at.toUTCString() } }));
  };
  return answer;
});

/** A key that is being rotated and works for `leftMs` more, `aheadMs` before this clock. */
async function show(aheadMs: number, leftMs: number) {
  control.at = new Date(Date.now() - aheadMs);
  control.rotation_expires_at = new Date(control.at.getTime() + leftMs).toISOString();
  const client = new QueryClient();
  const { items } = await client.fetchQuery(accessKeysQuery('u1'));
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <QueryClientProvider client={client}>
        <FormatsContext value={formatsIn('en', 'UTC')}>
          <AccessKeys
            user={{ id: 'u1', status: 'active', routing_strategy: 'plan_first' } as User}
            keys={items as AccessKeyWithCircuit[]}
            models={[]}
            credentialDialog={() => null}
          />
        </FormatsContext>
      </QueryClientProvider>
    </MessagesProvider>,
  );
}

test('a key stands as control’s clock has it, not the browser’s', async () => {
  await show(2 * HOUR_MS, HOUR_MS);
  expect(screen.getByText('Rotating')).toBeDefined();
});

test('what control has not ended can be revoked', async () => {
  await show(0, -HOUR_MS);
  expect(screen.getByText('Expired')).toBeDefined();
  expect(screen.getByRole('button', { name: 'Actions for laptop (ak_1…)' })).toBeDefined();
});
