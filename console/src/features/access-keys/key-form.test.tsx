// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { fireEvent, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';

import type { ConsoleSettings } from '@/api/schema';
import { settingsQuery } from '@/features/settings/api';
import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { KeyForm } from './key-form';

/** Ends within a day, as a key does that was issued through the API. */
const key = { name: 'laptop', expires_at: '2099-12-24T09:30:00Z' };

function edit() {
  const onSubmit = vi.fn();
  const client = new QueryClient({ defaultOptions: { queries: { staleTime: Infinity } } });
  client.setQueryData(settingsQuery.queryKey, { bedrock_region: 'us-east-1' } as ConsoleSettings);
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <QueryClientProvider client={client}>
        <FormatsContext value={formatsIn('en', 'UTC')}>
          <KeyForm
            title="Edit laptop"
            settings={key}
            models={[]}
            submit="Save"
            pending={false}
            error={null}
            onSubmit={onSubmit}
            onClose={vi.fn()}
          />
        </FormatsContext>
      </QueryClientProvider>
    </MessagesProvider>,
  );
  return onSubmit;
}

const save = () => userEvent.click(screen.getByRole('button', { name: 'Save' }));

test('another name changes nothing else of a key, nor moves its end', async () => {
  const onSubmit = edit();
  await userEvent.type(screen.getByLabelText('Name'), ' 2');
  await save();
  expect(onSubmit).toHaveBeenCalledExactlyOnceWith({ name: 'laptop 2' });
});

test('another day does', async () => {
  const onSubmit = edit();
  fireEvent.change(screen.getByLabelText('Last day'), { target: { value: '2099-12-31' } });
  await save();
  expect(onSubmit).toHaveBeenCalledExactlyOnceWith({ expires_at: '2100-01-01T00:00:00.000Z' });
});

test('a key cannot be made to end in the past', async () => {
  const onSubmit = edit();
  fireEvent.change(screen.getByLabelText('Last day'), { target: { value: '2020-01-01' } });
  await save();
  expect(onSubmit).not.toHaveBeenCalled();
});
