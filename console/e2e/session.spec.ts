import { expectAccessible } from './accessible';
import { expect, password, test, USERNAME, type Page } from './console';

async function signIn(page: Page, secret: string) {
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill(USERNAME);
  await page.getByLabel('Password').fill(secret);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

test('who is not signed in gets to the page after signing in', async ({ page }) => {
  await page.goto('/users?search=ada');
  await expect(page).toHaveURL(/\/login\?next=/);
  await signIn(page, 'wrong');
  await expect(page.getByRole('alert')).toHaveText('Name or password is wrong.');
  await signIn(page, password());
  await expect(page).toHaveURL('/users?search=ada');
  await expect(page.getByRole('link', { name: 'Ada', exact: true })).toBeVisible();
});

test('a session that ends leads back to the page', async ({ signedIn: page }) => {
  await page.goto('/users?sort=name&order=asc');
  await expect(page.getByRole('link', { name: 'Ada', exact: true })).toBeVisible();
  await page.context().clearCookies();
  await page.getByLabel('Search name or description').fill('grace');
  await expect(page.getByText('Your session has ended. Sign in to go on')).toBeVisible();
  await signIn(page, password());
  await expect(page).toHaveURL(/\/users\?.*search=grace/);
  await expect(page.getByRole('link', { name: 'Grace', exact: true })).toBeVisible();
});

test('a key that is shown once outlives the session', async ({ signedIn: page, admin }) => {
  const user = await admin.send<{ id: string }>('POST', '/admin/users', {
    name: `Annie ${Date.now()}`,
  });
  await page.goto(`/users/${user.id}`);
  await page.getByRole('button', { name: 'Issue a key' }).click();
  await page.getByRole('button', { name: 'Issue key' }).click();
  const key = page.locator('pre').first();
  await expect(key).toHaveText(/^ak_/);
  const shown = await key.textContent();
  await page.context().clearCookies();
  // The page notices by itself, as it refreshes. Until then nobody can sign in.
  await signIn(page, 'wrong');
  await expect(page.getByRole('alert')).toHaveText('Name or password is wrong.');
  await page.keyboard.press('Escape');
  await expectAccessible(page);
  await signIn(page, password());
  await expect(page.getByRole('button', { name: 'Sign in' })).toHaveCount(0);
  await expect(key).toHaveText(shown ?? '');
  await page.getByRole('button', { name: 'I have copied it' }).click();
  await expect(page.getByText(shown ?? '')).toHaveCount(0);
});

test('nothing of a session can be read by a script, and signing out ends it', async ({ page }) => {
  await page.goto('/dashboard');
  await signIn(page, password());
  await expect(page.getByRole('heading', { name: 'Dashboard' })).toBeVisible();
  expect(await page.evaluate(() => document.cookie)).toBe('');
  expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain('eyJ');
  await page.getByRole('link', { name: 'Users', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'Users' })).toBeVisible();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/login/);
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await expect(page.getByText('Your session has ended.')).toHaveCount(0);
  await page.goto('/users');
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible();
});

test('a link leads to a page of ours only', async ({ signedIn: page }) => {
  await page.goto('/login?next=//example.com/');
  await expect(page).toHaveURL('/dashboard');
});
