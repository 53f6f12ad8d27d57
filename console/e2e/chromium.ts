import { existsSync } from 'node:fs';

import type { PlaywrightTestConfig } from '@playwright/test';

/** What `scripts/install-chromium` prints; Debian's; else the one of `playwright install`. */
const program =
  process.env.CHROMIUM ?? ['/usr/bin/chromium'].find((candidate) => existsSync(candidate));

export const chromium = {
  browserName: 'chromium',
  launchOptions: {
    ...(program && { executablePath: program }),
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  },
} satisfies PlaywrightTestConfig['use'];
