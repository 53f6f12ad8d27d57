// Writes `.br` and `.gz` beside what is worth it: control sends them as they are.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const COMPRESSIBLE = /\.(html|js|css|svg)$/;
const dist = new URL('../dist/', import.meta.url);

for (const name of readdirSync(dist, { recursive: true })) {
  if (!COMPRESSIBLE.test(name)) continue;
  const file = new URL(name, dist);
  const content = readFileSync(file);
  writeFileSync(new URL(`${file}.br`), brotliCompressSync(content));
  writeFileSync(new URL(`${file}.gz`), gzipSync(content, { level: 9 }));
}
