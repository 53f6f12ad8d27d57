import { fileURLToPath } from 'node:url';

import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds control. */
const control = process.env.CONTROL_URL ?? 'http://127.0.0.1:8000';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

export default defineConfig({
  plugins: [react(), tailwindcss()],
  resolve: { alias: { '@': path('./src') } },
  server: {
    proxy: { '/admin': control, '/api': control },
    // The status line that developers are given is the one in `scripts/`.
    fs: { allow: [path('./'), path('../scripts')] },
  },
  preview: { proxy: { '/admin': control, '/api': control } },
  build: {
    target: 'es2023',
    assetsInlineLimit: 0,
    manifest: true,
    rolldownOptions: {
      // What several pages need is one file, not thirty.
      output: { codeSplitting: { groups: [{ name: 'shared', minShareCount: 2 }] } },
    },
  },
  test: {
    environment: 'node',
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/vitest-setup.ts'],
    restoreMocks: true,
  },
});
