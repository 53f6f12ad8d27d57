/** What there is no room for beside each other on a phone. */

import { expect, test } from './console';

test.use({ viewport: { width: 360, height: 780 } });

test('a user is listed with all that is told of it', async ({ signedIn: page }) => {
  await page.goto('/users');
  const ada = page.getByRole('row').filter({ hasText: 'Ada' }).first();
  const boxes = await Promise.all(
    [ada.getByRole('rowheader'), ada.getByRole('cell').first()].map((it) => it.boundingBox()),
  );
  const [name, status] = boxes;
  expect(name && name.y + name.height).toBeLessThanOrEqual(status?.y ?? 0);
  await expect(ada.locator('[data-name="Keys"]')).toHaveText(/^\d+$/);
});

test('what was done and where it is in force are both to be read', async ({
  signedIn: page,
  admin,
}) => {
  const user = await admin.send<{ id: string }>('POST', '/admin/users', {
    name: `Radia ${Date.now()}`,
  });
  await admin.send('POST', `/admin/users/${user.id}/access-keys`, { name: 'phone' });
  await page.goto(`/users/${user.id}`);
  await page.getByRole('button', { name: 'Actions for phone' }).click();
  await page.getByRole('menuitem', { name: 'Revoke…' }).click();
  await page.getByRole('button', { name: 'Revoke key' }).click();

  const done = page.getByText(/ is revoked\.$/);
  const inForce = page.getByText('In force on 1 of 1 proxy.');
  await expect(inForce).toBeVisible();
  const [above, below] = await Promise.all([inForce.boundingBox(), done.boundingBox()]);
  expect(above && above.y + above.height).toBeLessThanOrEqual(below?.y ?? 0);
});
