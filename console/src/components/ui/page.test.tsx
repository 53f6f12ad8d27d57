// @vitest-environment jsdom
import { render, screen } from '@testing-library/react';
import { expect, test } from 'vitest';

import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { en } from '@/messages/en';
import { MessagesProvider } from '@/messages/messages';

import { Page } from './page';

const show = (hasTimes?: boolean) =>
  render(
    <MessagesProvider spoken={{ language: 'en', messages: en }}>
      <FormatsContext value={formatsIn('en', 'Asia/Seoul')}>
        <Page title="Models" hasTimes={hasTimes}>
          content
        </Page>
      </FormatsContext>
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
