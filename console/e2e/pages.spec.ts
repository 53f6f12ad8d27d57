import { expectAccessible } from './accessible';
import { Admin } from './admin';
import { ask, expect, password, settled, test, USERNAME } from './console';
import { expectWhole } from './whole';

const PAGES = ['/dashboard', '/users', '/models', '/pricing', '/proxies', '/audit', '/nowhere'];
const THEMES = ['light', 'dark'] as const;
const LANGUAGES = ['en-US', 'ko-KR'];

/** Names of any length are to be read whole. */
let longId = '';

test.beforeAll(async ({ baseURL }) => {
  const admin = await Admin.signIn(baseURL ?? '', USERNAME, password());
  const name = `Wolfeschlegelsteinhausenbergerdorff ${Date.now()} of Platform Engineering`;
  const user = await admin.send<{ id: string }>('POST', '/admin/users', {
    name,
    description: `Builds every branch of ${'continuousintegration'.repeat(8)}`,
  });
  longId = user.id;
  const { raw_key } = await admin.send<{ raw_key: string }>(
    'POST',
    `/admin/users/${user.id}/access-keys`,
    { name: 'continuous-integration-runner-of-the-largest-monorepo' },
  );
  await admin.send('PUT', `/admin/users/${user.id}/budget`, { monthly_budget_usd: '123456.78' });
  const { public_url } = await admin.send<{ public_url: string }>('GET', '/admin/settings');
  const base_url = `${public_url}/ak/${raw_key}`;
  await ask(base_url, 'claude-something-very-experimental-with-a-long-name-20261128');
});

for (const colorScheme of THEMES) {
  for (const locale of LANGUAGES) {
    test.describe(`${colorScheme}, ${locale}`, () => {
      test.use({ colorScheme, locale });

      test('/login', async ({ page }) => {
        await page.goto('/login');
        await expect(page.getByRole('heading')).toBeVisible();
        await expectAccessible(page);
        await expectWhole(page);
      });

      for (const path of PAGES) {
        test(path, async ({ signedIn: page }) => {
          await page.goto(path);
          await settled(page);
          const zone = page.getByText(/^(Times are in|시간대:) Asia\/Seoul$/);
          await expect(zone).toHaveCount(path === '/nowhere' ? 0 : 1);
          await expectAccessible(page);
          await expectWhole(page);
        });
      }

      test('a user', async ({ signedIn: page }) => {
        await page.goto(`/users/${longId}`);
        await settled(page);
        await expectAccessible(page);
        await expectWhole(page);
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
