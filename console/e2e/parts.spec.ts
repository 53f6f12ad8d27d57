/** Parts of the console that come when they are needed, or do not. */

import { expect, settled, test } from './console';

const USERS = /\/assets\/users-[^/]+\.js$/;
const CHARTS = /\/assets\/time-chart-[^/]+\.js$/;

test('a page whose script did not come can be tried again', async ({ signedIn: page }) => {
  await page.goto('/models');
  await settled(page);
  await page.route(USERS, (route) => route.abort());
  await page.getByRole('link', { name: 'Users', exact: true }).click();
  await expect(page.getByRole('alert')).toContainText('This could not be loaded');
  await page.unroute(USERS);
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect(page.getByRole('heading', { name: 'Users' })).toBeVisible();
});

test('a console that was replaced is loaded anew', async ({ signedIn: page }) => {
  await page.goto('/models');
  await settled(page);
  await page.evaluate(() => {
    document.querySelector('script[type=module]')?.setAttribute('src', '/assets/index-OLD.js');
  });
  await page.route(USERS, (route) => route.fulfill({ status: 404 }), { times: 1 });
  await page.getByRole('link', { name: 'Users', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'Users' })).toBeVisible();
});

test('charts are loaded where there are charts', async ({ signedIn: page }) => {
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await page.goto('/users');
  await settled(page);
  await page.waitForLoadState('networkidle');
  expect(asked.filter((path) => CHARTS.test(path))).toEqual([]);
  await page.getByRole('link', { name: 'Dashboard', exact: true }).click();
  await expect(page.locator('figure svg').first()).toBeVisible();
  expect(asked.filter((path) => CHARTS.test(path))).toHaveLength(1);
});
