import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';

import type { Parameters } from '../../parameters.ts';
import { DRAIN } from '../../times.ts';
import type { SecretsStack } from '../secrets.ts';
import { added } from './settings.ts';

type Secret = secretsmanager.ISecret;
type Variables = Readonly<Record<string, string>>;

/**
 * Bodies that a proxy may hold, of its memory of 1 GiB: what is left is for
 * streams, the index, and copies that are on their way.
 */
const BUFFERED_BYTES = 384 * 1024 * 1024;

/** CloudFront and ours: each adds the address that it saw. */
const LOAD_BALANCERS = 2;

export function proxyVariables(
  parameters: Parameters,
  secrets: SecretsStack,
  controlUrl: string,
): Variables {
  return added('proxy_settings', parameters, {
    ...shared(parameters, secrets),
    PROXY_CONTROL_URL: controlUrl,
    PROXY_DRAIN_TIMEOUT: `${DRAIN.timeout.toSeconds()}`,
    PROXY_MAX_BUFFERED_BYTES: `${BUFFERED_BYTES}`,
    ...arn('PROXY_PLAN_API_KEY_ARN', secrets.planApiKey),
  });
}

export function controlVariables(
  parameters: Parameters,
  secrets: SecretsStack,
  database: Secret,
): Variables {
  return added('control_settings', parameters, {
    ...shared(parameters, secrets),
    ...arn('PROXY_DATABASE_URL_ARN', database),
    ...arn('PROXY_JWT_SECRET_ARN', secrets.jwt),
    ...arn('PROXY_ADMIN_CREDENTIALS_ARN', secrets.adminCredentials),
    PROXY_ADMIN_LOAD_BALANCERS: `${LOAD_BALANCERS}`,
    PROXY_PUBLIC_URL: `https://${parameters.domain_name}`,
    PROXY_TIMEZONE: parameters.timezone,
    ...(parameters.budget_webhook_url && {
      PROXY_BUDGET_WEBHOOK_URL: parameters.budget_webhook_url,
    }),
    ...arn('PROXY_BUDGET_WEBHOOK_SECRET_ARN', secrets.budgetWebhook),
  });
}

/** What control's commands need, such as `migrate`. */
export function commandVariables(parameters: Parameters, database: Secret): Variables {
  return {
    ...arn('PROXY_DATABASE_URL_ARN', database),
    PROXY_TIMEZONE: parameters.timezone,
    PROXY_LOG_LEVEL: parameters.log_level,
  };
}

/** What both processes need, and must have alike. */
function shared(parameters: Parameters, secrets: SecretsStack): Variables {
  return {
    ...arn('PROXY_KEY_HASHER_SECRET_ARN', secrets.keyHasher),
    ...arn('PROXY_SYNC_TOKEN_ARN', secrets.syncToken),
    PROXY_KMS_KEY_ID: secrets.key.keyArn,
    PROXY_BEDROCK_REGION: parameters.bedrock_region,
    PROXY_BEDROCK_USE_ROLE: `${parameters.bedrock_use_role}`,
    PROXY_LOG_LEVEL: parameters.log_level,
    PROXY_CLOUDWATCH_METRICS: 'true',
    ...(parameters.collector_endpoint && {
      OTEL_EXPORTER_OTLP_ENDPOINT: parameters.collector_endpoint,
    }),
  };
}

function arn(variable: string, secret: Secret | undefined): Variables {
  return secret ? { [variable]: secret.secretArn } : {};
}
