import { z } from 'zod';

/** What differs between environments. Everything else is the same, so that dev tries what prod runs. */
const ENVIRONMENTS = {
  dev: { isProtected: false, natGateways: 1, databaseMaxCapacity: 4 },
  prod: { isProtected: true, natGateways: 2, databaseMaxCapacity: 16 },
};

/** CloudFront, its certificate and its firewall live here, wherever the rest is. */
export const EDGE_REGION = 'us-east-1';

const domain = z
  .string()
  .regex(/^([a-z0-9-]+\.)+[a-z]{2,}$/, 'must be a domain name, such as proxy.example.com');

const region = z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'must be an AWS region');

// A tag that moves cannot be rolled back to.
const image = z
  .string()
  .regex(/.[:@][^/]+$/, 'must name a version, as in repository:1.2.3 or repository@sha256:…')
  .refine(
    (name) => !name.endsWith(':latest'),
    'must not be :latest, which is another one tomorrow',
  );

const secretArn = z
  .string()
  .regex(/^arn:aws[\w-]*:secretsmanager:/, 'must be the ARN of a secret in Secrets Manager');

const url = z.url({ protocol: /^https?$/ });

/** The firewall takes no /0: who wants no list writes 0.0.0.0/1 and 128.0.0.0/1. */
const cidr = z
  .union([z.cidrv4(), z.cidrv6()], 'must be address ranges, such as 203.0.113.0/24')
  .refine((range) => !range.endsWith('/0'), 'must not be a whole internet');

const list = (text: string) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

/** The first design wrote levels as Python does. */
const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] as const;
const logLevel = (text: string) => text.toLowerCase().replace('warning', 'warn');

/** Settings of a process that no variable of ours stands for. */
const settings = z
  .preprocess(
    (text, issues) => {
      try {
        return typeof text === 'string' ? (JSON.parse(text) as unknown) : text;
      } catch {
        issues.addIssue('must be JSON, such as {"PROXY_CIRCUIT_RESET_TIMEOUT": "600"}');
        return z.NEVER;
      }
    },
    z.record(z.string().regex(/^[A-Z_]+$/), z.string(), 'must be an object of names and texts'),
  )
  .default({});

const milliseconds = z.coerce.number().int().positive();

/** The context variables: those of `cdk deploy -c name=value`, or of cdk.json. */
export const Context = z.strictObject({
  account: z
    .string()
    .regex(/^\d{12}$/, 'must have twelve digits')
    .optional(),
  region: region.default('ap-northeast-2'),
  environment: z.enum(['dev', 'prod']).default('dev'),
  log_level: z.string().default('INFO').transform(logLevel).pipe(z.enum(LOG_LEVELS)),

  domain_name: domain,
  hosted_zone_id: z.string().regex(/^Z[A-Z0-9]+$/, 'must be the id of a zone in Route 53'),
  hosted_zone_name: domain.optional(),
  admin_cidrs: z.string().transform(list).pipe(z.array(cidr).min(1)),

  proxy_image: image,
  control_image: image,
  command_image: image.optional(),
  cpu_architecture: z.enum(['ARM64', 'X86_64']).default('ARM64'),

  bedrock_region: region.optional(),
  bedrock_use_role: z.stringbool().default(false),
  plan_api_key_arn: secretArn.optional(),
  timezone: z.string().default('UTC'),
  budget_webhook_url: url.optional(),
  collector_endpoint: url.optional(),

  proxy_settings: settings,
  control_settings: settings,

  alarm_email: z.email().optional(),
  runbook_url: url.optional(),
  plan_latency_ms: milliseconds.default(500),
  bedrock_latency_ms: milliseconds.default(1000),

  cloudfront_prefix_list_id: z
    .string()
    .regex(/^pl-[0-9a-f]+$/, 'must be the id of a managed prefix list, such as pl-0123abcd')
    .optional(),
  origin_verify_generation: z.coerce.number().int().positive().default(1),
});

export type Parameters = Readonly<ReturnType<typeof parameters>>;

/**
 * Checks the context variables, and names each one that cannot be used.
 * `context` may hold CDK's own, too.
 */
export function parameters(context: Readonly<Record<string, unknown>>) {
  const given = Object.entries(context).filter(
    ([name, value]) => !isCdks(name) && value !== undefined,
  );
  const ours = Object.fromEntries(given.map(([name, value]) => [name, text(value)]));
  const read = Context.safeParse(ours);
  if (!read.success) {
    const lines = read.error.issues.map((issue) => `  ${complaint(issue, ours)}`);
    throw new Error(`context variables that cannot be used:\n${lines.join('\n')}`);
  }
  const { data } = read;
  const zone = data.hosted_zone_name ?? data.domain_name;
  if (!`.${data.domain_name}`.endsWith(`.${zone}`)) {
    throw new Error(
      `context variables that cannot be used:\n  domain_name: must be in hosted_zone_name, ${zone}`,
    );
  }
  return {
    ...data,
    ...ENVIRONMENTS[data.environment],
    hosted_zone_name: zone,
    command_image: data.command_image ?? data.control_image,
    bedrock_region: data.bedrock_region ?? data.region,
    runbook_url: data.runbook_url ?? 'docs/runbook.md',
  };
}

/** Names of CDK have a colon, but for these, which its command remembers or reads. */
const CDKS = [
  'acknowledged-issue-numbers',
  'assets-ecr-repository-name',
  'cdk-migrate',
  'cli-telemetry',
];

function isCdks(name: string): boolean {
  return name.includes(':') || CDKS.includes(name);
}

function complaint(issue: z.core.$ZodIssue, given: Readonly<Record<string, unknown>>): string {
  if (issue.code === 'unrecognized_keys') return `${issue.keys.join(', ')}: there is no such one`;
  const name = String(issue.path[0]);
  return `${name}: ${name in given ? issue.message : 'must be set'}`;
}

/** On the command line everything is a text; in cdk.json true and 2 are not. */
function text(value: unknown): unknown {
  return typeof value === 'boolean' || typeof value === 'number' ? String(value) : value;
}
