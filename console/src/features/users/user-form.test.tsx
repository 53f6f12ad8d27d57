// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';

import type { User } from '@/api/schema';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { EditUser } from './user-form';

// Before the client is made, which keeps the `fetch` that it finds.
const control = vi.hoisted(() => {
  const sent: unknown[] = [];
  globalThis.fetch = async (request) => {
    sent.push(await (request as Request).json());
    return Response.json({});
  };
  return sent;
});

const ada = { id: 'u1', name: 'Ada', description: 'Compilers' } as User;

test('what another administrator has changed meanwhile is left as it is', async () => {
  const onClose = vi.fn();
  const client = new QueryClient();
  const dialog = (user: User) => (
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <QueryClientProvider client={client}>
        <EditUser user={user} onClose={onClose} />
      </QueryClientProvider>
    </MessagesProvider>
  );
  const { rerender } = render(dialog(ada));
  await userEvent.type(screen.getByLabelText('Name'), ' L.');
  rerender(dialog({ ...ada, name: 'Augusta', description: 'Engines' }));
  expect(screen.getByLabelText('Description')).toHaveProperty('value', 'Compilers');
  await userEvent.click(screen.getByRole('button', { name: 'Save' }));
  await vi.waitFor(() => expect(onClose).toHaveBeenCalledOnce());
  expect(control).toEqual([{ name: 'Ada L.' }]);
});
