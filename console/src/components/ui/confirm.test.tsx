// @vitest-environment jsdom
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';

import { ApiError } from '@/api/client';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { Confirm } from './confirm';

function open(change: { error?: unknown; pending?: boolean; phrase?: string } = {}) {
  const onConfirm = vi.fn();
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <Confirm
        title="Delete Ada?"
        submit="Delete"
        phrase={{ label: 'Type Ada to confirm', text: change.phrase ?? 'Ada' }}
        pending={change.pending ?? false}
        error={change.error ?? null}
        onConfirm={onConfirm}
        onClose={vi.fn()}
      >
        <p>Her keys are revoked.</p>
      </Confirm>
    </MessagesProvider>,
  );
  return { onConfirm, button: screen.getByRole('button', { name: 'Delete' }) };
}

test('nothing is done before the phrase is typed', async () => {
  const { onConfirm, button } = open();
  expect(button).toHaveProperty('disabled', true);
  await userEvent.type(screen.getByLabelText('Type Ada to confirm'), 'Ad{Enter}');
  expect(onConfirm).not.toHaveBeenCalled();
  await userEvent.type(screen.getByLabelText('Type Ada to confirm'), 'a{Enter}');
  expect(onConfirm).toHaveBeenCalledOnce();
});

test('a phrase is typed as it is shown, where white space is one space', async () => {
  const { onConfirm } = open({ phrase: ' Ada  Lovelace' });
  await userEvent.type(screen.getByLabelText('Type Ada to confirm'), 'AdaLovelace{Enter}');
  expect(onConfirm).not.toHaveBeenCalled();
  await userEvent.clear(screen.getByLabelText('Type Ada to confirm'));
  await userEvent.type(screen.getByLabelText('Type Ada to confirm'), 'Ada Lovelace{Enter}');
  expect(onConfirm).toHaveBeenCalledOnce();
});

test('nothing is done twice', async () => {
  const { onConfirm, button } = open({ pending: true });
  await userEvent.type(screen.getByLabelText('Type Ada to confirm'), 'Ada');
  expect(button).toHaveProperty('disabled', true);
  expect(onConfirm).not.toHaveBeenCalled();
});

test('what went wrong is said with what to do', () => {
  open({ error: new ApiError('too_many_attempts', 429, 'Wait.', 7) });
  expect(screen.getByRole('alert').textContent).toBe(
    'Too many failed attempts. Try again in 7 seconds.',
  );
});
