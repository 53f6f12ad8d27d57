import { expect, password, settled, test, USERNAME, type Page } from './console';

type Target = ReturnType<Page['getByRole']>;

/** Nobody should have to press it more often. */
const MAX_TABS = 60;

async function tabTo(page: Page, target: Target) {
  await expect(target).toBeVisible();
  for (let pressed = 0; pressed < MAX_TABS; pressed++) {
    if (await target.evaluate((it) => it === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  await expect(target).toBeFocused();
}

async function press(page: Page, target: Target) {
  await tabTo(page, target);
  await page.keyboard.press('Enter');
}

test('from signing in to a revoked key without a mouse', async ({ page }) => {
  const name = `Hedy ${Date.now()}`;
  await page.goto('/login');
  await tabTo(page, page.getByLabel('Name'));
  await page.keyboard.type(USERNAME);
  await tabTo(page, page.getByLabel('Password'));
  await page.keyboard.type(password());
  await page.keyboard.press('Enter');

  await press(page, page.getByRole('link', { name: 'Users', exact: true }));
  await press(page, page.getByRole('button', { name: 'New user' }));
  await expect(page.getByLabel('Name', { exact: true })).toBeFocused();
  await page.keyboard.type(name);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name, level: 1 })).toBeVisible();

  await press(page, page.getByRole('button', { name: 'Issue a key' }));
  await expect(page.getByLabel('Name', { exact: true })).toBeFocused();
  await page.keyboard.type('laptop');
  await page.keyboard.press('Enter');
  await tabTo(page, page.getByRole('tab', { name: 'Shell' }));
  await page.keyboard.press('ArrowRight');
  await expect(page.getByRole('tab', { name: 'settings.json' })).toBeFocused();
  await expect(page.getByText('"ANTHROPIC_BASE_URL"')).toBeVisible();
  await press(page, page.getByRole('button', { name: 'I have copied it' }));

  const menu = page.getByRole('button', { name: 'Actions for laptop' });
  const revoke = async () => {
    await press(page, menu);
    await expect(page.getByRole('menuitem').first()).toBeFocused();
    await page.keyboard.press('End');
    await expect(page.getByRole('menuitem', { name: 'Revoke…' })).toBeFocused();
    await page.keyboard.press('Enter');
    await expect(page.getByRole('dialog')).toBeVisible();
  };
  await revoke();
  await page.keyboard.press('Escape');
  await expect(menu).toBeFocused();
  await revoke();
  await press(page, page.getByRole('button', { name: 'Revoke key' }));
  await expect(page.getByText(/ is revoked\.$/)).toBeVisible();
  await expect(page.getByText('In force on 1 of 1 proxy.')).toBeVisible();
});

test('a dialog is open to the keyboard, and gives it back', async ({ signedIn: page }) => {
  await page.goto('/users');
  await settled(page);
  const open = page.getByRole('button', { name: 'New user' });
  await open.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await expect(dialog).toBeVisible();
  for (let step = 0; step < 12; step++) {
    await page.keyboard.press('Tab');
    expect(await dialog.evaluate((it) => it.contains(document.activeElement))).toBe(true);
  }
  await page.keyboard.press('Escape');
  await expect(dialog).toHaveCount(0);
  await expect(open).toBeFocused();
});

test('arrows lead to a routing, and space chooses it', async ({ signedIn: page, admin }) => {
  const user = await admin.send<{ id: string }>('POST', '/admin/users', {
    name: `Sophie ${Date.now()}`,
  });
  const key = await admin.send<{ id: string }>('POST', `/admin/users/${user.id}/access-keys`, {});
  await admin.send('POST', `/admin/access-keys/${key.id}/bedrock-key`, {
    bedrock_api_key: 'bedrock-api-key-of-the-simulator',
  });
  await page.goto(`/users/${user.id}`);
  const planFirst = page.getByRole('radio', { name: /^Plan first/ });
  const bedrockOnly = page.getByRole('radio', { name: /^Bedrock only/ });
  await expect(bedrockOnly).toBeEnabled();
  await tabTo(page, planFirst);
  await page.keyboard.press('ArrowDown');
  await expect(bedrockOnly).toBeFocused();
  await expect(planFirst).toBeChecked();
  await page.keyboard.press('Space');
  await expect(bedrockOnly).toBeChecked();
  await expect(bedrockOnly).toBeFocused();
});

test('the first key leads past the navigation', async ({ signedIn: page }) => {
  await page.goto('/users');
  await settled(page);
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to content' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('main')).toBeFocused();
});
