import { expectAccessible } from './accessible';
import { expect, test, type Page } from './console';
import { expectWhole } from './whole';

const menu = async (page: Page, of: string, item: RegExp) => {
  await page.getByRole('button', { name: `Actions for ${of}` }).click();
  await page.getByRole('menuitem', { name: item }).click();
};

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    test('axe finds nothing in any dialog', async ({ signedIn: page, admin }) => {
      test.setTimeout(240_000);
      const user = await admin.send<{ id: string; name: string }>('POST', '/admin/users', {
        name: `Joan ${Date.now()}`,
      });
      await admin.send('POST', `/admin/users/${user.id}/access-keys`, { name: 'desktop' });
      const isFine = async () => {
        for (const width of [360, 1280]) {
          await expectWhole(page, [width]);
          await expectAccessible(page);
        }
      };
      const looksFine = async () => {
        await expect(page.getByRole('dialog')).toBeVisible();
        await isFine();
        await page.keyboard.press('Escape');
        await expect(page.getByRole('dialog')).toHaveCount(0);
      };

      await page.goto(`/users?search=${encodeURIComponent(user.name)}`);
      await page.getByRole('button', { name: 'New user' }).click();
      await looksFine();
      for (const item of [/^Edit/, /^Deactivate/, /^Delete/]) {
        await menu(page, user.name, item);
        await looksFine();
      }

      await page.goto(`/users/${user.id}`);
      await page.getByRole('button', { name: 'Set a budget' }).click();
      await looksFine();
      for (const item of [/^Edit/, /^Bedrock credential/, /^Rotate/, /^Revoke/]) {
        await menu(page, 'desktop', item);
        await looksFine();
      }
      await page.getByRole('button', { name: 'Issue a key' }).click();
      await isFine();
      await page.getByRole('button', { name: 'Issue key' }).click();
      for (const tab of ['Shell', 'settings.json', 'Status line', 'GitHub Action']) {
        await page.getByRole('tab', { name: tab }).click();
        await isFine();
      }
      await page.getByRole('button', { name: 'I have copied it' }).click();

      await page.goto('/models');
      await page.getByRole('button', { name: 'New mapping' }).click();
      await looksFine();
      for (const item of [/^Edit/, /^Delete/]) {
        await page
          .getByRole('button', { name: /^Actions for/ })
          .first()
          .click();
        await page.getByRole('menuitem', { name: item }).click();
        await looksFine();
      }

      await page.goto('/users?search=nobody+of+this+name');
      await page.getByRole('button', { name: 'New user' }).click();
      await page.getByLabel(/budget/i).fill('much');
      await looksFine();
    });
  });
}
