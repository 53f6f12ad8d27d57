import { createHash } from 'node:crypto';

import { Template } from 'aws-cdk-lib/assertions';
import type { CloudAssembly } from 'aws-cdk-lib/cx-api';

import { SAMPLE } from '../sample.ts';
import { createApp } from '../stacks.ts';

export type StackName =
  'Network' | 'Secrets' | 'Database' | 'LoadBalancer' | 'Compute' | 'Edge' | 'Monitoring';

export const STACKS: StackName[] = [
  'Network',
  'Secrets',
  'Database',
  'LoadBalancer',
  'Compute',
  'Edge',
  'Monitoring',
];

const made = new Map<string, CloudAssembly>();

/** The same for the same, so that nothing piles up. */
export function folder(key: string): string {
  return `cdk.out/tests/${createHash('sha256').update(key).digest('hex').slice(0, 16)}`;
}

/** The whole application for some context variables; broken rules of cdk-nag throw. */
export function assembly(context: Readonly<Record<string, unknown>> = {}): CloudAssembly {
  const key = JSON.stringify(context);
  const found = made.get(key) ?? createApp({ ...SAMPLE, ...context }, folder(key)).synth();
  made.set(key, found);
  return found;
}

export function template(stack: StackName, context: Readonly<Record<string, unknown>> = {}) {
  const artifact = assembly(context).getStackArtifact(stack);
  return Template.fromJSON(artifact.template as Record<string, unknown>);
}

/** Properties of all resources of a type. */
export function properties<T>(found: Template, type: string): T[] {
  return Object.values(found.findResources(type)).map((it) => it.Properties as T);
}
