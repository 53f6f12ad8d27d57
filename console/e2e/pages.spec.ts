import { expectAccessible } from './accessible';
import { expect, settled, test, type Page } from './console';

const PAGES = ['/dashboard', '/users', '/models', '/pricing', '/proxies', '/audit', '/nowhere'];
const THEMES = ['light', 'dark'] as const;
const LANGUAGES = ['en-US', 'ko-KR'];
const WIDTHS = [360, 1280, 2560];

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
          const zone = page.getByText(/^(Times are in|시간대:) Asia\/Seoul$/);
          await expect(zone).toHaveCount(path === '/nowhere' ? 0 : 1);
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

test('another model can be chosen after one', async ({ signedIn: page }) => {
  await page.goto('/dashboard?model=claude-opus-5-5');
  const model = page.getByRole('combobox', { name: 'Model', exact: true });
  await expect(model).toHaveValue('claude-opus-5-5');
  await model.selectOption('claude-haiku-5-5');
  await expect(page).toHaveURL(/model=claude-haiku-5-5/);
});

test('a language that is chosen stays', async ({ signedIn: page }) => {
  await page.goto('/users');
  await page.getByRole('radio', { name: '한국어' }).click();
  await expect(page.getByRole('heading', { name: '사용자' })).toBeVisible();
  await page.reload();
  await expect(page.getByRole('heading', { name: '사용자' })).toBeVisible();
  await expect(page.locator('html')).toHaveAttribute('lang', 'ko');
});
