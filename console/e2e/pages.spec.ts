import AxeBuilder from '@axe-core/playwright';

import { expect, test, type Page } from './console';

const PAGES = ['/dashboard', '/users', '/models', '/pricing', '/proxies', '/audit', '/nowhere'];
const THEMES = ['light', 'dark'] as const;
const LANGUAGES = ['en-US', 'ko-KR'];
const WIDTHS = [360, 1280, 2560];

async function settled(page: Page) {
  await expect(page.getByRole('heading').first()).toBeVisible();
  await expect(page.getByRole('status', { name: /Loading|불러오는/ })).toHaveCount(0);
}

async function expectAccessible(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.map(({ id, nodes }) => ({ id, where: nodes.map(({ html }) => html) }));
  expect(found).toEqual([]);
}

async function expectNothingBeyondTheEdge(page: Page) {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    const beyond = () =>
      page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
    await expect.poll(beyond, `at ${width} px`).toBeLessThanOrEqual(0);
  }
}

for (const colorScheme of THEMES) {
  for (const locale of LANGUAGES) {
    test.describe(`${colorScheme}, ${locale}`, () => {
      test.use({ colorScheme, locale });

      test('/login', async ({ page }) => {
        await page.goto('/login');
        await expect(page.getByRole('heading')).toBeVisible();
        await expectAccessible(page);
        await expectNothingBeyondTheEdge(page);
      });

      for (const path of PAGES) {
        test(path, async ({ signedIn: page }) => {
          await page.goto(path);
          await settled(page);
          await expectAccessible(page);
          await expectNothingBeyondTheEdge(page);
        });
      }

      test('a user', async ({ signedIn: page, admin }) => {
        const { items } = await admin.send<{ items: { id: string }[] }>(
          'GET',
          '/admin/users?search=ada',
        );
        await page.goto(`/users/${items[0]?.id}`);
        await settled(page);
        await expectAccessible(page);
        await expectNothingBeyondTheEdge(page);
      });
    });
  }
}

test('nothing on any page is refused by the policy or fails', async ({ signedIn: page }) => {
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() !== 'log') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  for (const path of PAGES) {
    await page.goto(path);
    await settled(page);
  }
  await page.goto('/users');
  await page.getByRole('button', { name: 'New user' }).click();
  await expect(page.getByRole('dialog')).toBeVisible();
  expect(complaints).toEqual([]);
});

test('a dialog is open to the keyboard, and gives it back', async ({ signedIn: page }) => {
  await page.goto('/users');
  await settled(page);
  const open = page.getByRole('button', { name: 'New user' });
  await open.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await expect(dialog).toBeVisible();
  await expectAccessible(page);
  for (let step = 0; step < 12; step++) {
    await page.keyboard.press('Tab');
    expect(await dialog.evaluate((it) => it.contains(document.activeElement))).toBe(true);
  }
  await page.keyboard.press('Escape');
  await expect(dialog).toHaveCount(0);
  await expect(open).toBeFocused();
});

test('the first key leads past the navigation', async ({ signedIn: page }) => {
  await page.goto('/users');
  await settled(page);
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to content' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('main')).toBeFocused();
});

test('a language that is chosen stays', async ({ signedIn: page }) => {
  await page.goto('/users');
  await page.getByRole('radio', { name: '한국어' }).click();
  await expect(page.getByRole('heading', { name: '사용자' })).toBeVisible();
  await page.reload();
  await expect(page.getByRole('heading', { name: '사용자' })).toBeVisible();
  await expect(page.locator('html')).toHaveAttribute('lang', 'ko');
});
