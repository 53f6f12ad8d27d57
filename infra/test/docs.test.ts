import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { Context, parameters } from '../parameters.ts';
import { SAMPLE } from '../sample.ts';
import { properties, template } from './synthesised.ts';

const guide = readFileSync('../docs/ecs.md', 'utf8');

describe('the guide', () => {
  const rows = [...guide.matchAll(/^\| `(\w+)` \| (.*?) \| .* \|$/gm)].map(
    ([, name = '', value = '']) => ({ name, value }),
  );
  const variables = rows.filter(({ name }) => /^[a-z_]+$/.test(name));

  test('has every context variable, and no other', () => {
    const names = variables.map(({ name }) => name);
    expect(names.toSorted()).toEqual(Object.keys(Context.shape).toSorted());
  });

  test('has their defaults', () => {
    const defaults: Record<string, unknown> = parameters(SAMPLE);
    for (const { name, value } of variables) {
      const written = /^`(.*)`$/.exec(value)?.[1];
      if (!written) continue;
      const expected = defaults[written] ?? written;
      expect(plain(defaults[name]), name).toBe(plain(expected));
    }
  });

  test('says of every secret how it is replaced', () => {
    const options = { budget_webhook_url: 'https://example.com/alerts' };
    const secrets = (['Secrets', 'Database', 'LoadBalancer'] as const).flatMap((stack) =>
      properties<{ Name: string }>(template(stack, options), 'AWS::SecretsManager::Secret'),
    );
    expect(secrets).toHaveLength(7);
    for (const { Name } of secrets) {
      expect(guide).toContain(`| \`${Name.replace(/verify\/.*/, 'verify/…')}\` |`);
    }
  });

  test('asks for clusters, services and tasks that there are', () => {
    const compute = JSON.stringify(template('Compute').toJSON());
    const named = [...guide.matchAll(/--(?:cluster|service|task-definition) ([\w-]+)/g)];
    expect(named.length).toBeGreaterThan(5);
    for (const [, name] of named) expect(compute).toContain(`"${name}"`);
  });
});

/** As it is written in a table. */
function plain(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.toLowerCase();
}
