import { defineConfig } from '@playwright/test';

import { chromium } from './e2e/chromium';

export default defineConfig({
  testDir: 'e2e',
  projects: [
    { name: 'e2e', testMatch: '*.spec.ts' },
    { name: 'screenshots', testMatch: 'screenshots.ts' },
    { name: 'measure', testMatch: 'measure.ts' },
    { name: 'lighthouse', testMatch: 'lighthouse.ts' },
  ],
  globalSetup: './e2e/system.ts',
  // One system, and two cores for it and the browser.
  workers: 1,
  timeout: 60_000,
  expect: { timeout: 15_000 },
  forbidOnly: Boolean(process.env.CI),
  reporter: [['list'], ['./e2e/verdict.ts']],
  use: {
    ...chromium,
    locale: 'en-US',
    permissions: ['clipboard-read', 'clipboard-write'],
    trace: 'retain-on-failure',
  },
});
