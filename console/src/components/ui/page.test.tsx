// @vitest-environment jsdom
import { QueryClient, QueryClientProvider, useQuery } from '@tanstack/react-query';
import { render, screen } from '@testing-library/react';
import { expect, test } from 'vitest';

import { ApiError } from '@/api/client';
import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { Page } from './page';

/** What is asked for again and again, and answered once. */
let answers = 1;
const models = {
  queryKey: ['models'],
  queryFn: () => {
    if (answers-- > 0) return 'three models';
    throw new ApiError('unreachable', 0, '');
  },
  refetchInterval: 10,
  retry: false,
};

function Models({ hasTimes }: { hasTimes?: boolean }) {
  return (
    <Page title="Models" hasTimes={hasTimes}>
      {useQuery(models).data}
    </Page>
  );
}

const show = (hasTimes?: boolean) =>
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <QueryClientProvider client={new QueryClient()}>
        <FormatsContext value={formatsIn('en', 'Asia/Seoul')}>
          <Models hasTimes={hasTimes} />
        </FormatsContext>
      </QueryClientProvider>
    </MessagesProvider>,
  );

test('a page says in which zone its times are, if it has any', () => {
  const { unmount } = show();
  expect(screen.getByText('Times are in Asia/Seoul')).toBeDefined();
  expect(document.title).toBe('Models · Claude Code Proxy');
  unmount();
  show(false);
  expect(screen.queryByText(/^Times are in/)).toBeNull();
});

test('a page that cannot be refreshed says so, since when, and why', async () => {
  answers = 1;
  show();
  expect(await screen.findByText('three models')).toBeDefined();
  const stale = await screen.findByText(/^Cannot be refreshed; this is from .+/);
  expect(stale.textContent).toContain(en.problems.unreachable);
  expect(screen.getByText('three models')).toBeDefined();
  answers = Infinity;
  await expect.poll(() => screen.queryByText(/^Cannot be refreshed/)).toBeNull();
});
