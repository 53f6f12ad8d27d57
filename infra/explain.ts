import { Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** Why rules of cdk-nag do not hold for a construct: the rule, and the reason. */
export function explain(construct: IConstruct, exceptions: Readonly<Record<string, string>>) {
  for (const [rule, reason] of Object.entries(exceptions)) {
    Validations.of(construct).acknowledge({ id: `AwsSolutions-${rule}`, reason });
  }
}
