// Fails when `src/api/schema.ts` is not what control's description of its API makes of it.
import { readFileSync } from 'node:fs';

import openapiTS, { astToString } from 'openapi-typescript';

const description = new URL('../../control/openapi.json', import.meta.url);
const committed = new URL('../src/api/schema.ts', import.meta.url);

const ast = await openapiTS(description, { rootTypes: true, rootTypesNoSchemaPrefix: true });

// The command puts a comment above what the library makes.
if (!readFileSync(committed, 'utf8').endsWith(astToString(ast))) {
  console.error('src/api/schema.ts is stale; run npm run types');
  process.exit(1);
}
