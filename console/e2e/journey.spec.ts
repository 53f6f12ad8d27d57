import { en } from '../src/messages/en';
import { ko } from '../src/messages/ko';
import { ask, expect, password, test, USERNAME, valueIn, type Page } from './console';

const LANGUAGES = [
  { locale: 'en-US', says: en },
  { locale: 'ko-KR', says: ko },
];

/** Stands for whatever a sentence has in a place. */
const ANY = '\uFFFC';

function like(sentence: string): RegExp {
  return new RegExp(sentence.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(ANY, '.+'));
}

/** The row of a key, by the name it was given and by what else is in it. */
const keyRow = (page: Page, ...texts: string[]) =>
  texts.reduce((rows, text) => rows.filter({ hasText: text }), page.getByRole('row'));

for (const { locale, says } of LANGUAGES) {
  test.describe(locale, () => {
    test.use({ locale });

    test('from signing in to a revoked key', async ({ page }) => {
      test.setTimeout(180_000);
      const name = `Edsger ${Date.now()}`;

      const copyShellLines = async () => {
        const copy = says.issued.copyOf(says.issued.shellText);
        await page.getByRole('button', { name: copy }).click();
        await expect(page.getByText(says.actions.copied, { exact: true })).toBeVisible();
        return page.evaluate(() => navigator.clipboard.readText());
      };
      const choose = async (row: ReturnType<typeof keyRow>, action: string) => {
        await row.getByRole('button', { name: like(says.keys.actionsOf(ANY)) }).click();
        await page.getByRole('menuitem', { name: action }).click();
      };
      const setBudget = async (open: string, usd: string) => {
        await page.getByRole('button', { name: open }).click();
        await page.getByLabel(says.budget.amount).fill(usd);
        await page.getByRole('button', { name: says.actions.save, exact: true }).click();
        await expect(page.getByText(says.budget.saved)).toBeVisible();
      };

      // Signing in leads to the page that was asked for.
      await page.goto('/users');
      await page.getByLabel(says.session.username).fill(USERNAME);
      await page.getByLabel(says.session.password).fill(password());
      await page.getByRole('button', { name: says.session.submit }).click();

      // A user.
      await page.getByRole('button', { name: says.users.create }).click();
      await page.getByLabel(says.users.name, { exact: true }).fill(name);
      await page.getByRole('button', { name: says.users.createSubmit }).click();
      await expect(page.getByRole('heading', { name, level: 1 })).toBeVisible();
      await expect(page.getByText(says.routing.noKeys)).toBeVisible();

      // A key, with lines to copy.
      await page.getByRole('button', { name: says.keys.issue }).click();
      const form = page.getByRole('dialog');
      await form.getByLabel(says.keys.name, { exact: true }).fill('laptop');
      await form.getByRole('button', { name: says.keys.issueSubmit, exact: true }).click();
      const lines = await copyShellLines();
      const base_url = valueIn(lines, 'ANTHROPIC_BASE_URL');
      expect(base_url).toContain('/ak/ak_');
      await page.getByRole('button', { name: says.issued.done }).click();
      await expect(page.getByText(base_url)).toHaveCount(0);
      await expect(page.getByText(says.rollout.done(1))).toBeVisible();
      const user_id = page.url().split('/').at(-1) ?? '';

      // Its first request appears on an open dashboard, without a reload.
      await page.goto(`/dashboard?user_id=${user_id}&range=day`);
      await expect(page.getByText(says.dashboard.empty).first()).toBeVisible();
      expect((await ask(base_url)).status).toBe(200);
      const requests = page.getByRole('region', { name: says.requests.title });
      await expect(requests.getByRole('row')).toHaveCount(2);
      await expect(page.locator('.recharts-bar-rectangle rect').first()).toBeVisible();

      // A credential, Bedrock only, and a budget that is soon used up.
      await page.goto(`/users/${user_id}`);
      await choose(keyRow(page, 'laptop'), says.credential.manage);
      await page
        .getByLabel(says.credential.apiKey, { exact: true })
        .fill('bedrock-api-key-of-the-simulator');
      await page.getByRole('button', { name: says.credential.register, exact: true }).click();
      await expect(page.getByText(says.credential.saved)).toBeVisible();
      const bedrockOnly = page.getByRole('radio', {
        name: like(says.routing.strategy.bedrock_only),
      });
      await bedrockOnly.click();
      await expect(bedrockOnly).toBeChecked();
      await setBudget(says.budget.set, '0.01');
      await expect
        .poll(async () => (await ask(base_url)).text, { timeout: 60_000, intervals: [300] })
        .toContain('billing_error');
      await expect(page.getByText(like(says.budget.forecast.exhausted(ANY)))).toBeVisible();
      await expect(page.getByText(like(says.budget.thresholdCrossed(100, ANY)))).toBeVisible();

      // A larger budget lifts it.
      await setBudget(says.budget.edit, '50');
      await expect.poll(async () => (await ask(base_url)).status).toBe(200);

      // Rotated, both keys work, while the time runs down.
      await choose(keyRow(page, 'laptop'), says.keys.rotate);
      await page.getByRole('button', { name: says.keys.rotateSubmit, exact: true }).click();
      const rotated = await copyShellLines();
      expect(rotated).toContain('ANTHROPIC_AUTH_TOKEN');
      const new_url = valueIn(rotated, 'ANTHROPIC_BASE_URL');
      await page.getByRole('button', { name: says.issued.done }).click();
      await expect(page.getByText(like(says.keys.graceLeft(`4:${ANY}`)))).toBeVisible();
      await expect.poll(async () => (await ask(new_url)).status).toBe(200);
      expect((await ask(base_url)).status).toBe(200);

      // Revoked, it is refused, and the proxies have confirmed it.
      const active = keyRow(page, 'laptop', says.keys.statuses.active);
      await expect(active).toContainText(/ago|now|전|지금/);
      await choose(active, says.keys.revoke);
      await expect(page.getByText(like(says.keys.revokeLastUsed(ANY)))).toBeVisible();
      await page.getByRole('button', { name: says.keys.revokeSubmit, exact: true }).click();
      // From now on the confirmation is of this change, and of none before.
      await expect(page.getByText(like(says.keys.revoked(ANY)))).toBeVisible();
      await expect(page.getByText(says.rollout.done(1))).toBeVisible();
      expect((await ask(new_url)).status).toBe(401);

      // All of it is in the audit log.
      await page.goto(`/audit?user_id=${user_id}`);
      const log = page.getByRole('table');
      for (const action of [
        'user.created',
        'access_key.issued',
        'bedrock_key.registered',
        'user.routed',
        'budget.changed',
        'access_key.rotated',
        'access_key.revoked',
      ] as const) {
        await expect(log.getByText(says.audit.actions[action]).first()).toBeVisible();
      }
    });
  });
}
