/**
 * Both environments into cdk.out, with sample values: needs no account and no
 * `cdk` command. A rule of cdk-nag that is broken without an explanation fails.
 */
import { SAMPLE } from './sample.ts';
import { createApp } from './stacks.ts';

for (const environment of ['dev', 'prod']) {
  createApp({ ...SAMPLE, environment }, `cdk.out/${environment}`).synth();
}
