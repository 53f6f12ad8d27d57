import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { METRICS } from '../metrics.ts';

/** Made from the processes' own list. */
const LIST = '../docs/metrics.md';

/** Each metric under every set of dimensions that it is written with. */
function written(): Set<string> {
  const series = new Set<string>();
  for (const part of readFileSync(LIST, 'utf8').split(/^## /m).slice(1)) {
    const service = part.startsWith('Control') ? 'control' : 'proxy';
    for (const [, name, by = ''] of part.matchAll(/\| `(\w+)` by ([\w, ]+?)(?:, only .*)? \|$/gm)) {
      const dimensions = by.split(', ');
      const own = dimensions[0] === 'Service' ? [`Service=${service}`] : dimensions;
      series.add(`${name} ${own[0]}`).add(`${name} ${own.join()}`);
    }
  }
  return series;
}

test('what is asked for is what the processes write', () => {
  const asked = Object.values(METRICS).flatMap((it) =>
    typeof it === 'function' ? [it('plan' as never), it('bedrock' as never)] : [it],
  );
  expect(asked.length).toBeGreaterThan(10);
  for (const { metricName, dimensions = {} } of asked) {
    const by = Object.entries(dimensions).map(([name, value]) =>
      name === 'Service' ? `Service=${value}` : name,
    );
    expect([...written()]).toContain(`${metricName} ${by.join()}`);
  }
});
