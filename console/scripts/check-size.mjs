// Fails when the first load of a page needs too much JavaScript, in either language.
import { readFileSync } from 'node:fs';
import { brotliCompressSync } from 'node:zlib';

const LIMIT_BYTES = 250_000;
const LANGUAGES = ['en', 'ko'];
const CHARTS = 'src/components/chart/time-chart.tsx';
/** Shown at once where somebody has used something. */
const WITH_CHARTS = ['dashboard', 'user'];

const dist = new URL('../dist/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist), 'utf8'));
const routes = Object.keys(manifest)
  .map((name) => /^src\/app\/routes\/(.+)\.tsx$/.exec(name)?.[1])
  .filter(Boolean);

const sizes = new Map();
const sizeOf = (file) => {
  if (!sizes.has(file)) {
    sizes.set(file, brotliCompressSync(readFileSync(new URL(file, dist))).length);
  }
  return sizes.get(file);
};

/** The files of entries of the manifest, with all that they import. */
function filesOf(names, files = new Set()) {
  for (const name of names) {
    const { file, imports = [] } = manifest[name];
    if (files.has(file)) continue;
    files.add(file);
    filesOf(imports, files);
  }
  return files;
}

function totalOf(route, language) {
  const files = filesOf([
    'index.html',
    `src/messages/${language}.ts`,
    `src/app/routes/${route}.tsx`,
    ...(WITH_CHARTS.includes(route) ? [CHARTS] : []),
  ]);
  return [...files, 'theme.js'].reduce((sum, file) => sum + sizeOf(file), 0);
}

const totals = routes.flatMap((route) =>
  LANGUAGES.map((language) => ({ route, language, total: totalOf(route, language) })),
);
for (const { route, language, total } of totals) {
  console.log(`${String(total).padStart(8)}  /${route} in ${language}`);
}
console.log(`${String(LIMIT_BYTES).padStart(8)}  bytes of compressed JavaScript are allowed`);
const missing = WITH_CHARTS.filter((route) => !routes.includes(route));
if (missing.length > 0) throw new Error(`There is no page ${missing.join(', ')} any more.`);
if (totals.some(({ total }) => total > LIMIT_BYTES)) process.exit(1);
