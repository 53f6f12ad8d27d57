// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { fireEvent, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState } from 'react';
import { beforeAll, expect, test, vi } from 'vitest';

import type { AccessKeyWithCircuit, ConsoleSettings, User } from '@/api/schema';
import { KeptProvider } from '@/components/ui/kept';
import { settingsQuery } from '@/features/settings/api';
import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { AccessKeys } from './access-keys';

// Dialogs are loaded when they are opened.
beforeAll(() => Promise.all([import('./issue-key'), import('./rotate-key')]));

// Before the client is made, which keeps the `fetch` that it finds.
const control = vi.hoisted(() => {
  const waiting: { answer: () => void } = { answer: () => {} };
  globalThis.fetch = () =>
    new Promise((resolve) => {
      waiting.answer = () => resolve(Response.json({ raw_key: 'ak_shown_once' }));
    });
  return waiting;
});

const user = { id: 'u1', name: 'Ada', status: 'active', routing_strategy: 'plan_first' } as User;
const key = { id: 'k1', name: 'laptop', key_prefix: 'ak_1', status: 'active' };

function Pages() {
  const [isGone, leave] = useState(false);
  return (
    <KeptProvider>
      {!isGone && (
        <AccessKeys
          user={user}
          keys={[key as AccessKeyWithCircuit]}
          models={[]}
          credentialDialog={() => null}
        />
      )}
      <button data-testid="back" onClick={() => leave(true)} />
    </KeptProvider>
  );
}

function open() {
  const client = new QueryClient({ defaultOptions: { queries: { staleTime: Infinity } } });
  client.setQueryData(settingsQuery.queryKey, {
    bedrock_region: 'us-east-1',
    public_url: 'https://proxy.example.com',
    rotation_grace_seconds: 300,
  } as ConsoleSettings);
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <QueryClientProvider client={client}>
        <FormatsContext value={formatsIn('en', 'UTC')}>
          <Pages />
        </FormatsContext>
      </QueryClientProvider>
    </MessagesProvider>,
  );
}

const press = async (name: string) => userEvent.click(await screen.findByRole('button', { name }));
const asksBeforeLeaving = () =>
  !window.dispatchEvent(new Event('beforeunload', { cancelable: true }));

async function issue() {
  await press('Issue a key');
  await press('Issue key');
}

async function rotate() {
  await press('Actions for laptop (ak_1…)');
  await userEvent.click(screen.getByRole('menuitem', { name: 'Rotate…' }));
  await press('Rotate key');
}

test.each([
  ['issued', issue],
  ['rotated', rotate],
])('a dialog in which a key is being %s cannot be closed', async (_, begin) => {
  open();
  await begin();
  await userEvent.keyboard('{Escape}');
  expect(screen.getByRole('button', { name: 'Cancel' })).toHaveProperty('disabled', true);
  expect(screen.queryByRole('button', { name: 'Close' })).toBeNull();
  expect(asksBeforeLeaving()).toBe(true);
  control.answer();
  expect(await screen.findByText('ak_shown_once')).toBeDefined();
});

test.each([
  ['issued', issue],
  ['rotated', rotate],
])('a key that was being %s is shown on whatever page somebody is by then', async (_, begin) => {
  open();
  await begin();
  fireEvent.click(screen.getByTestId('back'));
  control.answer();
  expect(await screen.findByText('ak_shown_once')).toBeDefined();
});

test('a new key stays until it is said to be copied', async () => {
  open();
  expect(asksBeforeLeaving()).toBe(false);
  await issue();
  control.answer();
  await screen.findByText('ak_shown_once');
  fireEvent.click(screen.getByTestId('back'));
  expect(screen.getByText('ak_shown_once')).toBeDefined();
  expect(asksBeforeLeaving()).toBe(true);
  await press('I have copied it');
  expect(screen.queryByText('ak_shown_once')).toBeNull();
  expect(asksBeforeLeaving()).toBe(false);
});

test('afterwards the page is as it was', async () => {
  open();
  await issue();
  control.answer();
  await screen.findByText('ak_shown_once');
  await press('I have copied it');
  await vi.waitFor(() =>
    expect(document.activeElement).toBe(screen.getByRole('button', { name: 'Issue a key' })),
  );
  expect(document.body.style.pointerEvents).toBe('');
});
