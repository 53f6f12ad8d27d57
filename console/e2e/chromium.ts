import { existsSync } from 'node:fs';

import type { PlaywrightTestConfig } from '@playwright/test';

/** The system's Chromium where there is one; else the one that `playwright install` has put. */
const SYSTEM = '/usr/bin/chromium';

export const chromium = {
  browserName: 'chromium',
  launchOptions: {
    ...(existsSync(SYSTEM) && { executablePath: SYSTEM }),
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  },
} satisfies PlaywrightTestConfig['use'];
