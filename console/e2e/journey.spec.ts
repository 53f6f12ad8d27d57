import { ask, expect, test, valueIn, type Page } from './console';

/** The first key of the table, by the name it was given. */
const keyRow = (page: Page, name: string) => page.getByRole('row').filter({ hasText: name });

async function shellLines(page: Page): Promise<string> {
  await page.getByRole('button', { name: /Copy: Paste into a terminal/ }).click();
  await expect(page.getByText('Copied', { exact: true })).toBeVisible();
  return page.evaluate(() => navigator.clipboard.readText());
}

test('from a new user to a revoked key', async ({ signedIn: page }) => {
  test.setTimeout(180_000);
  const name = `Edsger ${Date.now()}`;

  // A user.
  await page.goto('/users');
  await page.getByRole('button', { name: 'New user' }).click();
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByRole('button', { name: 'Create user' }).click();
  await expect(page.getByRole('heading', { name, level: 1 })).toBeVisible();
  await expect(page.getByText('the user has no working access key')).toBeVisible();

  // A key, with lines to copy.
  await page.getByRole('button', { name: 'Issue a key' }).click();
  await page.getByLabel('Name', { exact: true }).fill('laptop');
  await page.getByRole('button', { name: 'Issue key' }).click();
  const lines = await shellLines(page);
  const base_url = valueIn(lines, 'ANTHROPIC_BASE_URL');
  expect(base_url).toContain('/ak/ak_');
  await page.getByRole('button', { name: 'I have copied it' }).click();
  await expect(page.getByText(base_url)).toHaveCount(0);
  await expect(page.getByText(/In force on 1 of 1 proxy/)).toBeVisible();
  const user_id = page.url().split('/').at(-1) ?? '';

  // Its first request appears on an open dashboard, without a reload.
  await page.goto(`/dashboard?user_id=${user_id}&range=day`);
  await expect(page.getByText('Nothing was used in this range').first()).toBeVisible();
  expect((await ask(base_url)).status).toBe(200);
  await expect(page.getByRole('region', { name: 'Newest requests' }).getByRole('row')).toHaveCount(
    2,
  );

  // A credential, Bedrock only, and a budget that is soon used up.
  await page.goto(`/users/${user_id}`);
  await keyRow(page, 'laptop')
    .getByRole('button', { name: /Actions/ })
    .click();
  await page.getByRole('menuitem', { name: 'Bedrock credential…' }).click();
  await page.getByLabel('Bedrock API key').fill('bedrock-api-key-of-the-simulator');
  await page.getByRole('button', { name: 'Register', exact: true }).click();
  await expect(page.getByText('The credential is registered.')).toBeVisible();
  await page.getByRole('radio', { name: /Bedrock only/ }).click();
  await expect(page.getByRole('radio', { name: /Bedrock only/ })).toBeChecked();
  await page.getByRole('button', { name: 'Set a budget' }).click();
  await page.getByLabel('US dollars per calendar month').fill('0.01');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('The budget is changed.')).toBeVisible();
  await expect
    .poll(async () => (await ask(base_url)).text, { timeout: 60_000, intervals: [300] })
    .toContain('billing_error');
  await expect(page.getByText(/^Used up\. Bedrock is refused/)).toBeVisible();
  await expect(page.getByText(/100% reached/)).toBeVisible();

  // A larger budget lifts it.
  await page.getByRole('button', { name: 'Change budget' }).click();
  await page.getByLabel('US dollars per calendar month').fill('50');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect.poll(async () => (await ask(base_url)).status).toBe(200);

  // Rotated, both keys work, while the time runs down.
  await keyRow(page, 'laptop')
    .getByRole('button', { name: /Actions/ })
    .click();
  await page.getByRole('menuitem', { name: 'Rotate…' }).click();
  await page.getByRole('button', { name: 'Rotate key' }).click();
  const rotated = await shellLines(page);
  expect(rotated).toContain('ANTHROPIC_AUTH_TOKEN');
  const new_url = valueIn(rotated, 'ANTHROPIC_BASE_URL');
  await page.getByRole('button', { name: 'I have copied it' }).click();
  await expect(page.getByText(/works for 4:\d\d/)).toBeVisible();
  await expect.poll(async () => (await ask(new_url)).status).toBe(200);
  expect((await ask(base_url)).status).toBe(200);

  await expect(keyRow(page, 'Active').filter({ hasText: 'laptop' })).toContainText(/ago|now/);

  // Revoked, it is refused, and the proxies have confirmed it.
  await keyRow(page, 'Active')
    .filter({ hasText: 'laptop' })
    .getByRole('button', { name: /Actions/ })
    .click();
  await page.getByRole('menuitem', { name: 'Revoke…' }).click();
  await expect(page.getByText(/It was last used/)).toBeVisible();
  await page.getByRole('button', { name: 'Revoke key' }).click();
  await expect(page.getByText(/In force on 1 of 1 proxy/)).toBeVisible();
  expect((await ask(new_url)).status).toBe(401);

  // All of it is in the audit log.
  await page.goto(`/audit?user_id=${user_id}`);
  for (const action of [
    'User created',
    'Key issued',
    'Budget changed',
    'Key rotated',
    'Key revoked',
  ]) {
    await expect(page.getByText(action).first()).toBeVisible();
  }
});
