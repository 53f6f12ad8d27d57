import type { Parameters } from '../../parameters.ts';

type Variables = Readonly<Record<string, string>>;

/** What an operator may not add even where the stack leaves it unset, and why. */
const REFUSED: readonly [RegExp, string][] = [
  [
    /^PROXY_(KEY_HASHER_SECRET|SYNC_TOKEN|DATABASE_URL|JWT_SECRET|PLAN_API_KEY|BUDGET_WEBHOOK_SECRET)(_ARN|_FILE)?$/,
    'is a secret: the stack has it in Secrets Manager',
  ],
  [
    /^PROXY_ADMIN_(USERNAME|PASSWORD_HASH|CREDENTIALS)(_ARN|_FILE)?$/,
    'is a secret: the stack has it in Secrets Manager',
  ],
  [/^PROXY_LOCAL_ENCRYPTION_KEY(_FILE)?$/, 'is a secret, and KMS seals instead'],
  [/^AWS_(SECRET|SESSION_TOKEN|BEARER_TOKEN)/, 'is a secret, and the role of the task serves'],
  [/_HEADERS$/, 'may hold a secret, which everybody would read in the template'],
  [/_ADDR$/, 'is where load balancer and proxies look for it'],
  [/^PROXY_SYNC_TLS_/, 'names a file, and there is none in the task'],
  [/^PROXY_BUDGET_WEBHOOK_URL$/, 'is budget_webhook_url'],
  [/^OTEL_EXPORTER_OTLP_ENDPOINT$/, 'is collector_endpoint'],
];

/**
 * With what the operator adds, who may neither change what holds the parts together
 * nor write a secret where everybody reads it.
 */
export function added(
  name: 'proxy_settings' | 'control_settings',
  parameters: Parameters,
  ours: Variables,
): Variables {
  const settings = parameters[name];
  const complaints = Object.keys(settings).flatMap((variable) => {
    const why = variable in ours ? 'is set by the stack' : refusal(variable);
    return why ? `${name}: ${variable} ${why}` : [];
  });
  if (complaints.length > 0) throw new Error(complaints.join('\n'));
  return { ...ours, ...settings };
}

function refusal(variable: string): string | undefined {
  return REFUSED.find(([pattern]) => pattern.test(variable))?.[1];
}
