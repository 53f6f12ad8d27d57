// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { MemoryRouter } from 'react-router';
import { beforeEach, expect, test, vi } from 'vitest';

import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { asked, readFilters } from './filters';
import { Requests } from './requests';

// Before the client is made, which keeps the `fetch` that it finds.
const control = vi.hoisted(() => {
  const next = { refuses: false };
  const refusal = { error: { code: 'database_unavailable', message: 'Not now.' } };
  globalThis.fetch = (request) => {
    const { pathname } = new URL((request as Request).url);
    if (pathname !== '/admin/usage/export') return Promise.resolve(Response.json({ items: [] }));
    return Promise.resolve(
      next.refuses ? Response.json(refusal, { status: 503 }) : new Response('a,b\r\n'),
    );
  };
  return next;
});

const saved: string[] = [];
beforeEach(() => {
  saved.length = 0;
  vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (this: HTMLElement) {
    saved.push(this.getAttribute('href') ?? '');
  });
});

async function exportAll() {
  const search = new URLSearchParams('range=custom&from=2026-11-01&to=2026-11-02&model=m');
  render(
    <MemoryRouter>
      <MessagesProvider spoken={{ language: 'en', messages: en }}>
        <QueryClientProvider client={new QueryClient()}>
          <FormatsContext value={formatsIn('en', 'UTC')}>
            <Requests asked={asked(readFilters(search), new Date('2026-11-28T12:00:00Z'), 'UTC')} />
          </FormatsContext>
        </QueryClientProvider>
      </MessagesProvider>
    </MemoryRouter>,
  );
  await userEvent.click(screen.getByRole('button', { name: 'Export all as CSV' }));
}

test('an export that is refused says so', async () => {
  control.refuses = true;
  await exportAll();
  expect((await screen.findByRole('alert')).textContent).toBe(en.problems.database_unavailable);
  expect(saved).toEqual([]);
});

test('an export is what is asked for', async () => {
  control.refuses = false;
  await exportAll();
  await expect
    .poll(() => saved)
    .toEqual(['/admin/usage/export?start_date=2026-11-01&end_date=2026-11-02&model=m']);
  expect(screen.queryByRole('alert')).toBeNull();
});
