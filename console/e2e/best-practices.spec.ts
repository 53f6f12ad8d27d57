/**
 * What Lighthouse counts as best practices, as far as it applies to a page of one origin:
 * nothing is logged, deprecated or reported as an issue, no request fails or leaves the origin,
 * the document says what it is, pasting works, nothing is asked for on arrival, the policy lets
 * no foreign script in, and everything that can be compressed is.
 */

import { expect, settled, test, type Page } from './console';

const PAGES = ['/dashboard', '/users', '/models', '/pricing', '/proxies', '/audit'];

/** All that a browser complains of, from now on. */
async function complaints(page: Page): Promise<string[]> {
  const found: string[] = [];
  page.on('console', (message) => {
    if (message.type() !== 'log') found.push(`console: ${message.text()}`);
  });
  page.on('pageerror', ({ message }) => found.push(`error: ${message}`));
  page.on('requestfailed', (request) => {
    // Somebody navigated away.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') found.push(`failed: ${request.url()}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) found.push(`${response.status()}: ${response.url()}`);
  });
  const browser = await page.context().newCDPSession(page);
  browser.on('Log.entryAdded', ({ entry }) => found.push(`log: ${entry.text}`));
  browser.on('Audits.issueAdded', ({ issue }) => found.push(`issue: ${JSON.stringify(issue)}`));
  await browser.send('Log.enable');
  await browser.send('Audits.enable');
  return found;
}

test('a browser has nothing to complain of before signing in', async ({ page }) => {
  const found = await complaints(page);
  await page.goto('/login');
  await settled(page);
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeEnabled();
  expect(found).toEqual([]);
});

test('a browser has nothing to complain of', async ({ signedIn: page, baseURL }) => {
  const found = await complaints(page);
  const foreign = new Set<string>();
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== baseURL && protocol !== 'data:') foreign.add(origin);
  });
  for (const path of PAGES) {
    await page.goto(path);
    await settled(page);
  }
  await page.goto('/users');
  await page.getByRole('button', { name: 'New user' }).click();
  await expect(page.getByRole('dialog')).toBeVisible();
  expect(found).toEqual([]);
  expect([...foreign]).toEqual([]);
});

test('the document says what it is', async ({ signedIn: page }) => {
  for (const path of PAGES) {
    await page.goto(path);
    await settled(page);
    const said = await page.evaluate(() => ({
      doctype: document.doctype?.name,
      mode: document.compatMode,
      charset: document.characterSet,
      language: document.documentElement.lang,
      viewport: document.querySelector<HTMLMetaElement>('meta[name=viewport]')?.content,
    }));
    expect(said).toEqual({
      doctype: 'html',
      mode: 'CSS1Compat',
      charset: 'UTF-8',
      language: 'en',
      viewport: 'width=device-width, initial-scale=1',
    });
    await expect(page).toHaveTitle(/^.+ · Claude Code Proxy$/);
  }
});

test('a password can be pasted', async ({ page }) => {
  await page.goto('/login');
  await page.evaluate(() => navigator.clipboard.writeText('from a password manager'));
  await page.getByLabel('Password').focus();
  await page.keyboard.press('Control+V');
  await expect(page.getByLabel('Password')).toHaveValue('from a password manager');
});

test('what is sent is compressed, kept, and guarded', async ({ signedIn: page, baseURL }) => {
  const sent: { path: string; headers: Record<string, string> }[] = [];
  page.on('response', (response) => {
    const { origin, pathname } = new URL(response.url());
    if (origin === baseURL) sent.push({ path: pathname, headers: response.headers() });
  });
  await page.goto('/dashboard');
  await settled(page);
  const assets = sent.filter(({ path }) => path.startsWith('/assets/'));
  expect(assets.length).toBeGreaterThan(3);
  for (const { path, headers } of assets) {
    expect(headers['cache-control'], path).toBe('public, max-age=31536000, immutable');
    if (/\.(js|css)$/.test(path)) expect(headers['content-encoding'], path).toBe('br');
  }
  const document = sent.find(({ path }) => path === '/dashboard')?.headers ?? {};
  expect(document['content-security-policy']).toContain("default-src 'none'; script-src 'self'");
  expect(document['content-security-policy']).toContain("frame-ancestors 'none'");
  expect(document['x-content-type-options']).toBe('nosniff');
});
