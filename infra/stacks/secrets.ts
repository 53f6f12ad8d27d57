import { RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';

import { explain } from '../explain.ts';
import type { Parameters } from '../parameters.ts';

/**
 * The KMS key that Bedrock credentials are sealed with, and one secret for each
 * `_ARN` variable. The database's own is made with the database.
 */
export class SecretsStack extends Stack {
  readonly key: kms.Key;
  readonly keyHasher: secretsmanager.ISecret;
  readonly syncToken: secretsmanager.ISecret;
  readonly jwt: secretsmanager.ISecret;
  readonly adminCredentials: secretsmanager.ISecret;
  /** Signs budget alerts; only where somebody gets them. */
  readonly budgetWebhook: secretsmanager.ISecret | undefined;
  /** The company's key for the Anthropic API, which is not ours to make. */
  readonly planApiKey: secretsmanager.ISecret | undefined;

  private readonly removalPolicy: RemovalPolicy;

  constructor(scope: Construct, id: string, { parameters, ...props }: SecretsProps) {
    super(scope, id, props);
    // What lies under the key is lost with it, and access keys with the hasher's secret.
    this.removalPolicy = parameters.isProtected ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY;
    this.key = new kms.Key(this, 'Key', {
      alias: 'claude-code-proxy',
      description: 'Claude Code Proxy: Bedrock credentials, secrets and the database',
      enableKeyRotation: true,
      removalPolicy: this.removalPolicy,
    });
    this.keyHasher = this.secret('KeyHasherSecret', 'key-hasher-secret', {
      description: 'HMAC key of access keys; with another one no access key is known any more',
    });
    this.syncToken = this.secret('SyncToken', 'sync-token', {
      description: 'What proxies show control',
    });
    this.jwt = this.secret('JwtSecret', 'jwt-secret', {
      description: 'Signs sessions of the console',
    });
    this.adminCredentials = this.secret('AdminCredentials', 'admin-credentials', {
      description: 'Name and password of the administrator',
      generateSecretString: {
        secretStringTemplate: '{"username":"admin"}',
        generateStringKey: 'password',
        ...RANDOM,
      },
    });
    this.budgetWebhook = parameters.budget_webhook_url
      ? this.secret('BudgetWebhookSecret', 'budget-webhook-secret', {
          description: 'Signs budget alerts',
        })
      : undefined;
    this.planApiKey = parameters.plan_api_key_arn
      ? secretsmanager.Secret.fromSecretCompleteArn(this, 'PlanApiKey', parameters.plan_api_key_arn)
      : undefined;
  }

  private secret(id: string, name: string, props: secretsmanager.SecretProps) {
    const secret = new secretsmanager.Secret(this, id, {
      secretName: `claude-code-proxy/${name}`,
      encryptionKey: this.key,
      removalPolicy: this.removalPolicy,
      generateSecretString: RANDOM,
      ...props,
    });
    explain(secret, {
      SMG4: 'Secrets are read at start, so a new value needs new tasks; access keys do not survive a new hasher secret at all. docs/ecs.md says how each is replaced.',
    });
    return secret;
  }
}

/** Long enough, and nothing that a URL, a header or a shell would change. */
const RANDOM = { passwordLength: 64, excludePunctuation: true };

interface SecretsProps extends StackProps {
  readonly parameters: Parameters;
}
