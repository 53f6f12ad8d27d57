// Fails when the first page after signing in needs too much JavaScript.
import { readFileSync } from 'node:fs';
import { brotliCompressSync } from 'node:zlib';

const LIMIT_BYTES = 250_000;
const dist = new URL('../dist/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist), 'utf8'));

const files = new Set();
const follow = (name) => {
  const { file, imports = [] } = manifest[name];
  if (files.has(file)) return;
  files.add(file);
  imports.forEach(follow);
};
const NEEDED = [
  'index.html',
  'src/messages/en.ts',
  'src/app/routes/dashboard.tsx',
  'src/components/chart/time-chart.tsx',
];
NEEDED.forEach(follow);

const sizes = [...files].map((file) => [
  brotliCompressSync(readFileSync(new URL(file, dist))).length,
  file,
]);
const total = sizes.reduce((sum, [size]) => sum + size, 0);
for (const [size, file] of sizes.sort(([a], [b]) => b - a))
  console.log(`${String(size).padStart(8)}  ${file}`);
console.log(
  `${String(total).padStart(8)}  of ${LIMIT_BYTES} bytes of compressed JavaScript for the dashboard`,
);
if (total > LIMIT_BYTES) process.exit(1);
