// @vitest-environment jsdom
import { fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { CodeBlock } from './copy';

const LINES = 'export A=1\nexport B=2';

/** A browser with this clipboard, in which the button is pressed. */
function copyWith(clipboard: Partial<Clipboard> | undefined) {
  Object.defineProperty(navigator, 'clipboard', { value: clipboard, configurable: true });
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <CodeBlock code={LINES} label="Copy: lines" />
    </MessagesProvider>,
  );
  fireEvent.click(screen.getByRole('button', { name: 'Copy: lines' }));
}

afterEach(() => void Reflect.deleteProperty(navigator, 'clipboard'));

test('what is copied is said to be', async () => {
  const writeText = vi.fn(() => Promise.resolve());
  copyWith({ writeText });
  expect(await screen.findByText('Copied')).toBeDefined();
  expect(writeText).toHaveBeenCalledExactlyOnceWith(LINES);
  expect(screen.queryByRole('alert')).toBeNull();
});

test.each([
  ['refuses', { writeText: () => Promise.reject(new DOMException('no', 'NotAllowedError')) }],
  ['is absent', undefined],
])('where the clipboard %s, the lines are selected, and it is said', async (_, clipboard) => {
  copyWith(clipboard);
  expect((await screen.findByRole('alert')).textContent).toBe(en.actions.copyRefused);
  expect(getSelection()?.toString()).toBe(LINES);
  expect(screen.queryByText('Copied')).toBeNull();
});
