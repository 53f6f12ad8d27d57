// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';

import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { CredentialForm } from './credential-form';

// Before the client is made, which keeps the `fetch` that it finds.
const control = vi.hoisted(() => {
  const asked: string[] = [];
  globalThis.fetch = (request) => {
    asked.push(new URL((request as Request).url).pathname);
    return Promise.resolve(
      Response.json({ bedrock_model: 'claude-haiku-5-5', region: 'us-east-1' }),
    );
  };
  return { asked };
});

const PATH = '/admin/access-keys/k/bedrock-key';

function open() {
  control.asked.length = 0;
  const onDone = vi.fn();
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <QueryClientProvider client={new QueryClient()}>
        <CredentialForm access_key_id="k" isReplacing={false} region="us-east-1" onDone={onDone} />
      </QueryClientProvider>
    </MessagesProvider>,
  );
  return onDone;
}

const type = (text: string) => userEvent.type(screen.getByLabelText('Bedrock API key'), text);
const press = (name: string) => userEvent.click(screen.getByRole('button', { name }));

test('Enter registers', async () => {
  const onDone = open();
  await type('secret{Enter}');
  await vi.waitFor(() => expect(onDone).toHaveBeenCalledOnce());
  expect(control.asked).toEqual([PATH]);
});

test('a test registers nothing, and says who answered', async () => {
  const onDone = open();
  await type('secret');
  await press('Test');
  expect(await screen.findByRole('status')).toHaveProperty(
    'textContent',
    'It works: claude-haiku-5-5 answered in us-east-1.',
  );
  expect(control.asked).toEqual([`${PATH}/verify`]);
  expect(onDone).not.toHaveBeenCalled();
});

test('nothing is tested while something is missing', async () => {
  open();
  await press('Test');
  expect(control.asked).toEqual([]);
});
