/** Pages while they load, when there is nothing to show, and when control does not answer. */

import { expectAccessible } from './accessible';
import { expect, settled, test, type Page } from './console';
import { expectWhole } from './whole';

/** What each page asks for. */
const PAGES: [string, RegExp][] = [
  ['/dashboard', /\/admin\/usage/],
  ['/users', /\/admin\/users\?/],
  ['/users/01a00000-0000-7000-8000-000000000000', /\/admin\/users\//],
  ['/models', /\/admin\/models/],
  ['/pricing', /\/api\/pricing/],
  ['/proxies', /\/admin\/(proxies|circuits)/],
  ['/audit', /\/admin\/audit-log/],
];

const EMPTY = [
  '/dashboard?range=custom&from=2020-01-01&to=2020-01-02',
  '/users?search=nobody+of+this+name',
  '/audit?search=nothing+of+this+name',
];

const looksFine = async (page: Page) => {
  for (const width of [360, 1280]) {
    await expectWhole(page, [width]);
    await expectAccessible(page);
  }
};

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    for (const [path, asked] of PAGES) {
      test(`${path} while it loads`, async ({ signedIn: page }) => {
        await page.route(asked, () => {}); // is never answered
        await page.goto(path);
        await expect(page.getByRole('status', { name: 'Loading…' }).first()).toBeVisible();
        await looksFine(page);
      });

      test(`${path} without an answer`, async ({ signedIn: page }) => {
        await page.route(asked, (route) => route.abort());
        await page.goto(path);
        const alert = page.getByRole('alert').first();
        await expect(alert).toContainText('Control does not answer.');
        await looksFine(page);
        await page.unroute(asked);
        await alert.getByRole('button', { name: 'Try again' }).click();
        await expect(alert.getByText('Control does not answer.')).toHaveCount(0);
      });
    }

    for (const path of EMPTY) {
      test(`${path}, which is empty`, async ({ signedIn: page }) => {
        await page.goto(path);
        await settled(page);
        await expect(page.getByRole('row')).toHaveCount(0);
        await looksFine(page);
      });
    }

    test('what cannot be refreshed says since when', async ({ signedIn: page }) => {
      await page.goto('/proxies');
      await expect(page.getByRole('row')).not.toHaveCount(0);
      await page.route('**/admin/**', (route) => route.abort());
      const stale = page.getByText(/^Cannot be refreshed; this is from .+Control does not answer/);
      await expect(stale).toBeVisible();
      await expect(page.getByRole('row')).not.toHaveCount(0);
      await looksFine(page);
      await page.unroute('**/admin/**');
      await expect(stale).toHaveCount(0);
    });
  });
}
