import { Topic } from 'aws-cdk-lib/aws-sns';
import { expect, test } from 'vitest';

import { SAMPLE } from '../sample.ts';
import { createApp } from '../stacks.ts';
import { assembly, folder, STACKS, template } from './synthesised.ts';

test.each(['dev', 'prod'])('%s needs to ask no account, also with its number', (environment) => {
  for (const account of [undefined, '222222222222']) {
    expect(assembly({ environment, account }).manifest.missing ?? []).toEqual([]);
  }
});

test('stacks that hold what lasts cannot be deleted in production', () => {
  for (const stack of STACKS) {
    const lasts = stack === 'Secrets' || stack === 'Database';
    const isProtected = assembly({ environment: 'prod' }).getStackArtifact(
      stack,
    ).terminationProtection;
    expect(Boolean(isProtected), stack).toBe(lasts);
  }
});

test('a rule of cdk-nag that is broken without an explanation fails', () => {
  const app = createApp(SAMPLE, folder('broken'));
  const network = app.node.findChild('Network');
  new Topic(network, 'InClear');
  expect(() => app.synth()).toThrow('AwsSolutions-SNS3');
});

// What the other tests do not look at; a difference here is to be read, and then taken over
// with `npx vitest run -u`.
test.each(STACKS)('%s of production is as it was', async (stack) => {
  const text = JSON.stringify(template(stack, { environment: 'prod' }).toJSON(), null, 1);
  await expect(`${text}\n`).toMatchFileSnapshot(`__snapshots__/${stack}.json`);
});
