// @vitest-environment jsdom
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import type { ReactNode } from 'react';
import { MemoryRouter, useLocation } from 'react-router';
import { expect, test } from 'vitest';

import { ApiError } from '@/api/client';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { explain, Problem, ProblemNote } from './problem';

function Address() {
  const { pathname, search } = useLocation();
  return <output>{pathname + search}</output>;
}

const show = (children: ReactNode) =>
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <MemoryRouter initialEntries={['/users?page=99999']}>
        {children}
        <Address />
      </MemoryRouter>
    </MessagesProvider>,
  );

test('an answer that is not of control is told with its status', () => {
  expect(explain(new ApiError('intercepted', 502, ''), en)).toContain('status 502');
});

test('where the address is wrong there is a way out of it', async () => {
  show(<Problem error={new ApiError('invalid_query', 400, 'offset is too large.')} />);
  await userEvent.click(screen.getByRole('link', { name: 'Clear filters' }));
  expect(screen.getByRole('status').textContent).toBe('/users');
});

test('a form does not go on saying that a session has ended', () => {
  show(<ProblemNote error={new ApiError('session_expired', 401, '')} />);
  expect(screen.queryByRole('alert')).toBeNull();
  show(<ProblemNote error={new ApiError('wrong_credentials', 401, '')} />);
  expect(screen.getByRole('alert').textContent).toBe(en.problems.wrong_credentials);
});
