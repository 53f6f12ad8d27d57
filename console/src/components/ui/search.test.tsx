// @vitest-environment jsdom
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { SearchField } from './search';

beforeEach(() => void vi.useFakeTimers({ shouldAdvanceTime: true }));
afterEach(() => void vi.useRealTimers());

const type = (text: string) =>
  userEvent.type(screen.getByLabelText('Search'), text, { delay: null });

test('is asked once typing pauses, without spaces around', async () => {
  const onSearch = vi.fn();
  render(<SearchField label="Search" value="" onSearch={onSearch} />);
  await type(' ada ');
  expect(onSearch).not.toHaveBeenCalled();
  vi.advanceTimersByTime(300);
  expect(onSearch.mock.calls).toEqual([['ada']]);
});

test('shows what it is set to from outside', () => {
  const { rerender } = render(<SearchField label="Search" value="ada" onSearch={vi.fn()} />);
  rerender(<SearchField label="Search" value="" onSearch={vi.fn()} />);
  expect(screen.getByLabelText<HTMLInputElement>('Search').value).toBe('');
});
