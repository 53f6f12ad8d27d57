import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as kms from 'aws-cdk-lib/aws-kms';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';

import { explain } from '../../explain.ts';
import type { Parameters } from '../../parameters.ts';
import type { DatabaseStack } from '../database.ts';
import type { SecretsStack } from '../secrets.ts';

/** What every sealed Bedrock credential is bound to (`proto/src/sealed.rs`). */
const SEALED_FOR = 'access_key_id';

const SEALED_ONLY = {
  'ForAllValues:StringEquals': { 'kms:EncryptionContextKeys': [SEALED_FOR] },
  Null: { 'kms:EncryptionContextKeys': 'false' },
};

/** Proxies open Bedrock credentials, and can make none. */
export function proxyRole(
  scope: Construct,
  secrets: SecretsStack,
  { bedrock_use_role }: Parameters,
): iam.Role {
  const { key, keyHasher, syncToken, planApiKey } = secrets;
  const role = taskRole(scope, 'ProxyRole', 'Proxies');
  readSecrets(role, key, [keyHasher, syncToken, planApiKey]);
  role.addToPolicy(
    new iam.PolicyStatement({
      sid: 'OpenCredentials',
      actions: ['kms:Decrypt'],
      resources: [key.keyArn],
      conditions: SEALED_ONLY,
    }),
  );
  // Otherwise every access key brings a credential of its own.
  if (bedrock_use_role) {
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'AskBedrock',
        actions: [
          'bedrock:InvokeModel', // of Converse, too
          'bedrock:InvokeModelWithResponseStream',
          'bedrock:CountTokens',
        ],
        resources: [...BEDROCK_MODELS],
      }),
    );
    for (const arn of BEDROCK_MODELS) {
      explain(role, {
        [`IAM5[Resource::${arn}]`]:
          'Which models are asked is said by the mappings of administrators, and a profile asks models of several regions.',
      });
    }
  }
  return role;
}

const BEDROCK_MODELS = [
  'arn:aws:bedrock:*::foundation-model/*',
  'arn:aws:bedrock:*:*:inference-profile/*',
  'arn:aws:bedrock:*:*:application-inference-profile/*',
];

/** Control seals Bedrock credentials, and can open none. */
export function controlRole(
  scope: Construct,
  secrets: SecretsStack,
  database: DatabaseStack,
): iam.Role {
  const role = taskRole(scope, 'ControlRole', 'Control');
  const { key, keyHasher, syncToken, jwt, adminCredentials, budgetWebhook } = secrets;
  const read = [database.secret, keyHasher, syncToken, jwt, adminCredentials, budgetWebhook];
  readSecrets(role, key, read);
  role.addToPolicy(
    new iam.PolicyStatement({
      sid: 'SealCredentials',
      actions: ['kms:GenerateDataKey'],
      resources: [key.keyArn],
      conditions: SEALED_ONLY,
    }),
  );
  return role;
}

/** Commands of control speak to the database, and to nobody else. */
export function commandRole(
  scope: Construct,
  { key }: SecretsStack,
  database: DatabaseStack,
): iam.Role {
  const role = taskRole(scope, 'CommandRole', 'One-off tasks');
  readSecrets(role, key, [database.secret]);
  return role;
}

/**
 * By hand, because CDK would name the role in the policy of the key, which is in
 * a stack that comes first.
 */
function readSecrets(
  role: iam.Role,
  key: kms.IKey,
  secrets: readonly (secretsmanager.ISecret | undefined)[],
) {
  const { region } = Stack.of(role);
  role.addToPolicy(
    new iam.PolicyStatement({
      sid: 'ReadSecrets',
      actions: ['secretsmanager:GetSecretValue'],
      resources: secrets.flatMap((secret) => secret?.secretArn ?? []),
    }),
  );
  role.addToPolicy(
    new iam.PolicyStatement({
      sid: 'ReadSecretsUnderOurKey',
      actions: ['kms:Decrypt'],
      resources: [key.keyArn],
      conditions: { StringEquals: { 'kms:ViaService': `secretsmanager.${region}.amazonaws.com` } },
    }),
  );
}

function taskRole(scope: Construct, id: string, whose: string): iam.Role {
  return new iam.Role(scope, id, {
    assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com'),
    description: `${whose} of Claude Code Proxy`,
  });
}
