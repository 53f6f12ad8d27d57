// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render, screen } from '@testing-library/react';
import { expect, test } from 'vitest';

import { Dialog } from '@/components/ui/dialog';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { SessionEnded } from './sign-in';

function Covered({ hasEnded, isSending }: { hasEnded: boolean; isSending: boolean }) {
  return (
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <QueryClientProvider client={new QueryClient()}>
        <Dialog title="Create a user" onClose={() => {}}>
          <input aria-label="Description" />
          {!isSending && <button>Create</button>}
        </Dialog>
        {hasEnded && <SessionEnded />}
      </QueryClientProvider>
    </MessagesProvider>
  );
}

/** Who has the focus after a session has ended and somebody has signed in again. */
async function after(before: 'Description' | 'Create') {
  const isSending = before === 'Create';
  const { rerender } = render(<Covered hasEnded={false} isSending={false} />);
  (before === 'Create' ? screen.getByText(before) : screen.getByLabelText(before)).focus();
  rerender(<Covered hasEnded={false} isSending={isSending} />);
  rerender(<Covered hasEnded isSending={isSending} />);
  await expect.poll(() => document.activeElement).toBe(screen.getByLabelText('Name'));
  rerender(<Covered hasEnded={false} isSending={isSending} />);
  await expect.poll(() => screen.queryByLabelText('Name')).toBeNull();
}

test('after signing in again one is where one was', async () => {
  await after('Description');
  await expect.poll(() => document.activeElement).toBe(screen.getByLabelText('Description'));
});

test('where there is no such place any more, one is in the dialog', async () => {
  await after('Create');
  await expect.poll(() => screen.getByRole('dialog').contains(document.activeElement)).toBe(true);
});
