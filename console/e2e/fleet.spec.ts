import { ask, expect, test } from './console';
import { startProxy } from './system';

test('a revocation is in force on two of two proxies', async ({ signedIn: page, admin }) => {
  test.setTimeout(120_000);
  const user = await admin.send<{ id: string }>('POST', '/admin/users', {
    name: `Lynn ${Date.now()}`,
  });
  const { raw_key } = await admin.send<{ raw_key: string }>(
    'POST',
    `/admin/users/${user.id}/access-keys`,
    { name: 'desktop' },
  );
  const { public_url } = await admin.send<{ public_url: string }>('GET', '/admin/settings');
  const second = await startProxy();
  try {
    await expect.poll(second.isReady).toBe(true);
    const both = [public_url, second.url].map((url) => `${url}/ak/${raw_key}`);
    const statuses = async () =>
      (await Promise.all(both.map((url) => ask(url)))).map(({ status }) => status);
    expect(await statuses()).toEqual([200, 200]);

    await page.goto(`/users/${user.id}`);
    await page.getByRole('button', { name: 'Actions for desktop' }).click();
    await page.getByRole('menuitem', { name: 'Revoke…' }).click();
    await page.getByRole('button', { name: 'Revoke key' }).click();
    await expect(page.getByText('In force on 2 of 2 proxies.')).toBeVisible();
    expect(await statuses()).toEqual([401, 401]);

    await page.goto('/proxies');
    await expect(page.getByText('2 / 2')).toBeVisible();
  } finally {
    await second.stop();
  }
  // It is gone for whoever comes after, when it has not reported for 45 s.
  await expect(page.getByText('1 / 1')).toBeVisible({ timeout: 60_000 });
});
