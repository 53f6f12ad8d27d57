/** Pictures of every page, at three widths, for `docs/console.md` and for whoever looks. */

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';

import { expect, settled, test, type Page } from './console';
import { makeHistory } from './history';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const FOLDER = resolve(REPOSITORY, 'docs/console');
const RUN_IF_INSTALLED = resolve(REPOSITORY, 'scripts/run-if-installed');

const MAX_HEIGHT = 10_000;

const VIEWS = [
  { width: 360, colorScheme: 'light' },
  { width: 1280, colorScheme: 'light' },
  { width: 2560, colorScheme: 'dark' },
] as const;

/** `SCREENSHOTS_LANGUAGE=ko` takes them in Korean; those are not kept. */
const language = process.env.SCREENSHOTS_LANGUAGE ?? 'en';

test.use({ locale: language });
test.describe.configure({ mode: 'serial' });

test('a company with a past', async ({ admin }) => {
  test.setTimeout(180_000);
  await makeHistory(admin);
});

for (const { width, colorScheme } of VIEWS) {
  test.describe(`${width} px`, () => {
    test.use({ viewport: { width, height: width < 1000 ? 780 : 900 }, colorScheme });

    test('sign in', async ({ page }) => {
      await page.goto('/login');
      await settled(page);
      await page.screenshot({ path: file('login', width) });
    });

    for (const name of ['dashboard', 'users', 'models', 'pricing', 'proxies', 'audit']) {
      test(name, async ({ signedIn: page }) => {
        await page.goto(`/${name}`);
        await settled(page);
        if (name === 'dashboard') await expect(page.locator('figure svg').first()).toBeVisible();
        await take(page, name, width);
      });
    }

    test('a user', async ({ signedIn: page, admin }) => {
      const { items } = await admin.send<{ items: { id: string }[] }>(
        'GET',
        '/admin/users?search=lovelace',
      );
      await page.goto(`/users/${items[0]?.id}`);
      await settled(page);
      await take(page, 'user', width);
    });

    test('a new key', async ({ signedIn: page, admin }) => {
      const { items } = await admin.send<{ items: { id: string }[] }>(
        'GET',
        '/admin/users?search=hopper',
      );
      await page.goto(`/users/${items[0]?.id}`);
      await page.getByRole('button', { name: /^(Issue a key|키 발급)$/ }).click();
      await page.getByRole('dialog').getByRole('textbox').first().fill('laptop');
      await page.getByRole('dialog').locator('button[type=submit]').click();
      await expect(page.getByRole('tab').first()).toBeVisible();
      await page.screenshot({ path: file('new-key', width) });
    });
  });
}

test.afterAll('made small', () => {
  if (language !== 'en') return;
  const small = ['pngquant', '--force', '--ext=.png', '--strip', '96'];
  const pictures = readdirSync(FOLDER).filter((name) => name.endsWith('.png'));
  execFileSync(RUN_IF_INSTALLED, ['pngquant', ...small, ...pictures], {
    cwd: FOLDER,
    stdio: 'inherit',
  });
});

/** All of a page, but of long lists only so much. */
async function take(page: Page, name: string, width: number) {
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  const clip = { x: 0, y: 0, width, height: Math.min(height, MAX_HEIGHT) };
  await page.screenshot({ path: file(name, width), fullPage: true, clip });
}

function file(name: string, width: number): string {
  return language === 'en'
    ? `${FOLDER}/${name}-${width}.png`
    : `screenshots/${name}-${width}-${language}.png`;
}
