// @vitest-environment jsdom
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';

import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { later } from './later';

const Part = ({ name }: { name: string }) => <p>{name} is here</p>;

function show(Later: ReturnType<typeof later<{ name: string }>>) {
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <Later name="It" />
    </MessagesProvider>,
  );
}

test('what could not be loaded is loaded when it is tried again', async () => {
  const load = vi
    .fn<() => Promise<typeof Part>>()
    .mockRejectedValueOnce(new TypeError('Failed to fetch'))
    .mockResolvedValue(Part);
  show(later(load, <p>not yet</p>));
  expect(screen.getByText('not yet')).toBeDefined();
  expect((await screen.findByRole('alert')).textContent).toContain(en.problem.title);
  await userEvent.click(screen.getByRole('button', { name: 'Try again' }));
  expect(await screen.findByText('It is here')).toBeDefined();
  expect(load).toHaveBeenCalledTimes(2);
});

test('what was loaded ahead is there at once', async () => {
  const load = vi.fn(() => Promise.resolve(Part));
  const Later = later(load);
  await Later.ahead();
  show(Later);
  expect(screen.getByText('It is here')).toBeDefined();
  expect(load).toHaveBeenCalledTimes(1);
});
