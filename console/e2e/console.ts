/** What the tests have in common: a signed-in page, and a way to be a developer. */

import { expect, test as base, type Page } from '@playwright/test';

import { Admin } from './admin';

export { expect, type Page };

export const USERNAME = 'admin';

const variable = (name: string) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set.`);
  return value;
};

export const password = () => variable('CONSOLE_PASSWORD');

interface Fixtures {
  admin: Admin;
  /** A page with a session. */
  signedIn: Page;
}

export const test = base.extend<Fixtures>({
  baseURL: async ({}, use) => use(variable('CONSOLE_URL')),
  admin: async ({ baseURL }, use) => use(await Admin.signIn(baseURL ?? '', USERNAME, password())),
  signedIn: async ({ page, admin }, use) => {
    await page.context().addCookies([admin.cookie]);
    await use(page);
  },
});

/** Everything that a page shows at first is there. */
export async function settled(page: Page) {
  await expect(page.getByRole('heading').first()).toBeVisible();
  await expect(page.getByRole('status', { name: /Loading|불러오는/ })).toHaveCount(0);
}

/** A request as Claude Code sends it; the status, and the text of the answer. */
export async function ask(base_url: string, model = 'claude-opus-5-5') {
  const response = await fetch(`${base_url}/v1/messages`, {
    method: 'POST',
    headers: {
      'x-api-key': 'sk-ant-demo',
      'anthropic-version': '2023-06-01',
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      model,
      max_tokens: 256,
      messages: [{ role: 'user', content: 'What does this repository do?' }],
    }),
  });
  return { status: response.status, text: await response.text() };
}

/** The value of a variable in the lines that developers are given. */
export function valueIn(lines: string, name: string): string {
  return new RegExp(`${name}=(\\S+)`).exec(lines)?.[1] ?? '';
}
