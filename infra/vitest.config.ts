import { defineConfig } from 'vitest/config';

// Synthesising is what takes the time; test files of one worker share what was made.
export default defineConfig({
  test: { isolate: false, fileParallelism: false, testTimeout: 60_000, hookTimeout: 60_000 },
});
