/** What Lighthouse says of every page. It is fetched for this, because it is large. */

import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';

import { chromium } from './chromium';
import { expect, test } from './console';

const LIGHTHOUSE = 'lighthouse@12.8.2'; // the newest that runs on Node 20
const CATEGORIES = ['accessibility', 'best-practices'];
const PAGES = ['dashboard', 'users', 'models', 'pricing', 'proxies', 'audit', 'login'];

interface Report {
  categories: Record<string, { score: number | null; auditRefs: { id: string }[] }>;
  audits: Record<string, { title: string; score: number | null }>;
}

for (const page of PAGES) {
  test(page, ({ admin, baseURL }) => {
    test.setTimeout(180_000);
    const { name, value } = admin.cookie;
    const { categories, audits } = lighthouse(
      `${baseURL}/${page}`,
      page === 'login' ? {} : { Cookie: `${name}=${value}` },
    );
    const scores = CATEGORIES.map((id) => [id, Math.round((categories[id]?.score ?? 0) * 100)]);
    process.stdout.write(`${page}: ${scores.map((it) => it.join(' ')).join(', ')}\n`);
    const failed = Object.values(audits).filter(({ score }) => score !== null && score < 1);
    for (const { title } of failed) process.stdout.write(`  ${title}\n`);
    expect(scores).toEqual(CATEGORIES.map((id) => [id, 100]));
  });
}

function lighthouse(url: string, headers: Record<string, string>): Report {
  const { args, executablePath } = chromium.launchOptions;
  const report = execFileSync(
    'npm',
    [
      ...['exec', '--yes', `--package=${LIGHTHOUSE}`, '--', 'lighthouse', url],
      ...['--quiet', '--output=json', '--preset=desktop', '--screenEmulation.disabled'],
      `--only-categories=${CATEGORIES.join(',')}`,
      `--extra-headers=${JSON.stringify(headers)}`,
      `--chrome-flags=--headless=new ${args.join(' ')}`,
    ],
    {
      // Nothing of ours is to be found there.
      cwd: tmpdir(),
      env: { ...process.env, ...(executablePath && { CHROME_PATH: executablePath }) },
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    },
  );
  return JSON.parse(report) as Report;
}
