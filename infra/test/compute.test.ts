import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, test } from 'vitest';

import { parameters } from '../parameters.ts';
import { SAMPLE } from '../sample.ts';
import { added } from '../stacks/compute/settings.ts';
import { properties, template } from './synthesised.ts';

const SERVICE = 'AWS::ECS::Service';
const TASK = 'AWS::ECS::TaskDefinition';

interface Container {
  readonly Name: string;
  readonly Image: unknown;
  readonly Command?: string[];
  readonly Environment: { readonly Name: string; readonly Value: unknown }[];
  readonly ReadonlyRootFilesystem: boolean;
  readonly LinuxParameters: unknown;
  readonly StopTimeout: number;
  readonly HealthCheck?: { readonly Command: string[] };
  readonly DependsOn?: unknown[];
}

interface Task {
  readonly Family: string;
  readonly ContainerDefinitions: Container[];
}

/** Every setting that has something to do. */
const EVERYTHING = {
  bedrock_use_role: 'true',
  budget_webhook_url: 'https://example.com/alerts',
  collector_endpoint: 'http://collector.example.com:4317',
  plan_api_key_arn: 'arn:aws:secretsmanager:ap-northeast-2:111111111111:secret:plan-AbCdEf',
};

const containers = (context = {}) =>
  properties<Task>(template('Compute', context), TASK).flatMap((task) => task.ContainerDefinitions);

function container(name: string, context = {}): Container {
  const found = containers(context).find((it) => it.Name === name);
  if (!found) throw new Error(`there is no container ${name}`);
  return found;
}

const value = (name: string, variable: string) =>
  container(name).Environment.find((it) => it.Name === variable)?.Value;

describe('deployments', () => {
  test('begin new tasks before old ones end, and go back when these do not come up', () => {
    template('Compute').allResourcesProperties(SERVICE, {
      DeploymentConfiguration: {
        MinimumHealthyPercent: 100,
        MaximumPercent: 200,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      },
    });
  });

  test('migrate before control begins, and only then', () => {
    expect(container('control').DependsOn).toEqual([
      { ContainerName: 'migrate', Condition: 'SUCCESS' },
    ]);
    expect(container('migrate').Command).toEqual(['migrate']);
    template('Compute').hasResourceProperties(TASK, {
      Family: 'claude-code-control',
      ContainerDefinitions: Match.arrayWith([
        Match.objectLike({ Name: 'migrate', Essential: false }),
      ]),
    });
  });

  test('can be preceded by a migration that takes long, with the new image only', () => {
    const command_image = 'example.com/claude-code-control:2.0.0';
    const images = containers({ command_image }).filter((it) => it.Image === command_image);
    expect(images.map((it) => it.Name)).toEqual(['command']);
    expect(container('command').Image).toEqual(container('control').Image);
  });

  test('begin proxies when there is a control to learn from', () => {
    template('Compute').hasResource(SERVICE, {
      Properties: { ServiceName: 'proxy' },
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('^ControlService')]),
    });
  });
});

describe('a task', () => {
  test('may do and write as little as possible', () => {
    for (const it of containers()) {
      expect(it.ReadonlyRootFilesystem).toBe(true);
      expect(it.LinuxParameters).toEqual({ Capabilities: { Drop: ['ALL'] } });
    }
    template('Compute').allResourcesProperties(SERVICE, { EnableExecuteCommand: false });
  });

  test('tells by itself how it is', () => {
    expect(container('proxy').HealthCheck?.Command).toEqual(['CMD', 'claude-code-proxy', 'health']);
    expect(container('control').HealthCheck?.Command).toEqual([
      'CMD',
      'claude-code-control',
      'health',
    ]);
  });

  test('has done all that it does on SIGTERM before it is killed', () => {
    // 2 s to say farewell, 6 s to deliver usage, 5 s for a collector: docs/failover.md.
    const needed = Number(value('proxy', 'PROXY_DRAIN_TIMEOUT')) + 2 + 6 + 5;
    expect(container('proxy').StopTimeout).toBe(120);
    expect(needed).toBeLessThan(120);
  });

  test('holds fewer bodies than it has memory', () => {
    template('Compute').hasResourceProperties(TASK, {
      Family: 'claude-code-proxy',
      Memory: '1024',
    });
    expect(Number(value('proxy', 'PROXY_MAX_BUFFERED_BYTES'))).toBeLessThan(2 ** 30 / 2);
  });

  test('is of the architecture that was asked for', () => {
    template('Compute', { cpu_architecture: 'X86_64' }).allResourcesProperties(TASK, {
      RuntimePlatform: { CpuArchitecture: 'X86_64' },
    });
  });
});

describe('scaling', () => {
  test('proxies are 2 to 50, by CPU and by open streams of one', () => {
    const compute = template('Compute');
    compute.resourceCountIs('AWS::ApplicationAutoScaling::ScalableTarget', 1);
    compute.hasResourceProperties('AWS::ApplicationAutoScaling::ScalableTarget', {
      MinCapacity: 2,
      MaxCapacity: 50,
    });
    compute.hasResourceProperties('AWS::ApplicationAutoScaling::ScalingPolicy', {
      TargetTrackingScalingPolicyConfiguration: {
        PredefinedMetricSpecification: { PredefinedMetricType: 'ECSServiceAverageCPUUtilization' },
      },
    });
    compute.hasResourceProperties('AWS::ApplicationAutoScaling::ScalingPolicy', {
      TargetTrackingScalingPolicyConfiguration: {
        CustomizedMetricSpecification: {
          Namespace: 'ClaudeCodeProxy',
          MetricName: 'OpenStreams',
          Dimensions: [{ Name: 'Service', Value: 'proxy' }],
          Statistic: 'Average',
        },
      },
    });
  });

  test('a deployment does not undo it', () => {
    template('Compute').hasResourceProperties(SERVICE, {
      ServiceName: 'proxy',
      DesiredCount: Match.absent(),
    });
    template('Compute').hasResourceProperties(SERVICE, {
      ServiceName: 'control',
      DesiredCount: 2,
    });
  });
});

describe('settings', () => {
  const known = new Set(
    ['../proxy/src', '../control/src', '../telemetry/src']
      .filter(existsSync)
      .flatMap(sources)
      .flatMap(variables),
  );
  // Written by the processes' telemetry, which comes with this stack.

  test('are such as the processes know', () => {
    const names = containers(EVERYTHING).flatMap((it) => it.Environment.map(({ Name }) => Name));
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  });

  test('name every secret that a process can be given by its ARN', () => {
    const set = containers(EVERYTHING).flatMap((it) => it.Environment.map(({ Name }) => Name));
    const arns = [...known].filter((name) => name.endsWith('_ARN'));
    expect(arns.filter((name) => !set.includes(name))).toEqual([]);
  });

  test('of both processes agree where they must', () => {
    for (const name of [
      'PROXY_KEY_HASHER_SECRET_ARN',
      'PROXY_SYNC_TOKEN_ARN',
      'PROXY_KMS_KEY_ID',
    ]) {
      expect(value('proxy', name)).toBeDefined();
      expect(value('proxy', name)).toEqual(value('control', name));
    }
  });

  test('can be added, but not against what holds the parts together', () => {
    const proxy_settings = { PROXY_MAX_STALENESS: '600' };
    expect(container('proxy', { proxy_settings }).Environment).toContainEqual({
      Name: 'PROXY_MAX_STALENESS',
      Value: '600',
    });
    expect(JSON.stringify(container('control', { proxy_settings }))).not.toContain('STALENESS');
    const control_settings = { PROXY_PUBLIC_URL: 'https://elsewhere.example.com' };
    expect(() => container('control', { control_settings })).toThrow(
      'control_settings: PROXY_PUBLIC_URL is set by the stack',
    );
  });

  test('can neither be a secret in clear nor move what others look for', () => {
    const chart = JSON.parse(
      readFileSync('../charts/claude-code-proxy/values.schema.json', 'utf8'),
    ) as { definitions: { taken: { enum: string[] } } };
    const secrets = [...known].filter((name) => name.endsWith('_ARN'));
    const refused = [
      ...chart.definitions.taken.enum,
      ...secrets.flatMap((arn) => [arn, arn.replace('_ARN', ''), arn.replace('_ARN', '_FILE')]),
      ...[...known].filter((name) => name.endsWith('_ADDR')),
      'PROXY_ADMIN_USERNAME',
      'AWS_SECRET_ACCESS_KEY',
      'AWS_SESSION_TOKEN',
      'AWS_BEARER_TOKEN_BEDROCK',
      'OTEL_EXPORTER_OTLP_HEADERS',
      'OTEL_EXPORTER_OTLP_TRACES_HEADERS',
    ];
    expect(secrets.length).toBeGreaterThan(5);
    const { proxy_settings } = parameters({
      ...SAMPLE,
      proxy_settings: Object.fromEntries(refused.map((name) => [name, 'in clear'])),
    });
    for (const variable of refused) {
      const one = { ...parameters(SAMPLE), proxy_settings: { [variable]: 'in clear' } };
      const ours = { PROXY_CONTROL_URL: '', PROXY_DRAIN_TIMEOUT: '' };
      expect(() => added('proxy_settings', one, ours), variable).toThrow(
        `proxy_settings: ${variable} `,
      );
    }
    // The stack asks, and all are said at once.
    expect(() => container('proxy', { proxy_settings })).toThrow(
      /PROXY_LISTEN_ADDR is where.*\n(.*\n)*.*PROXY_PLAN_API_KEY is a secret/,
    );
  });

  test('of both processes name the collector, where there is one', () => {
    const { collector_endpoint } = EVERYTHING;
    const set = { Name: 'OTEL_EXPORTER_OTLP_ENDPOINT', Value: collector_endpoint };
    for (const name of ['proxy', 'control']) {
      expect(container(name, { collector_endpoint }).Environment).toContainEqual(set);
      expect(container(name).Environment.map((it) => it.Name)).not.toContain(set.Name);
    }
  });

  test('lead proxies to control, which believes edge and load balancer', () => {
    expect(value('proxy', 'PROXY_CONTROL_URL')).toBe(
      'http://control.claude-code-proxy.internal:8001',
    );
    template('Compute').hasResourceProperties('AWS::ServiceDiscovery::Service', {
      Name: 'control',
    });
    template('Compute').hasResourceProperties('AWS::ServiceDiscovery::PrivateDnsNamespace', {
      Name: 'claude-code-proxy.internal',
    });
    expect(value('control', 'PROXY_ADMIN_LOAD_BALANCERS')).toBe('2');
    expect(value('control', 'PROXY_PUBLIC_URL')).toBe('https://proxy.example.com');
  });
});

describe('roles', () => {
  interface Policy {
    readonly Roles: unknown[];
    readonly PolicyDocument: { readonly Statement: Statement[] };
  }
  interface Statement {
    readonly Sid?: string;
    readonly Action: string | string[];
    readonly Condition?: unknown;
    readonly Resource: unknown;
  }
  const statements = (role: string, context = {}) =>
    properties<Policy>(template('Compute', context), 'AWS::IAM::Policy')
      .filter((policy) => JSON.stringify(policy.Roles).includes(`"${role}`))
      .flatMap((policy) => policy.PolicyDocument.Statement);
  const actions = (role: string, context = {}) =>
    statements(role, context)
      .flatMap((it) => it.Action)
      .sort();

  test('of proxies open credentials and make none, of control the reverse', () => {
    expect(actions('ProxyRole')).toEqual([
      'kms:Decrypt',
      'kms:Decrypt',
      'secretsmanager:GetSecretValue',
    ]);
    expect(actions('ControlRole')).toEqual([
      'kms:Decrypt',
      'kms:GenerateDataKey',
      'secretsmanager:GetSecretValue',
    ]);
  });

  test('use the key only for what is bound to an access key, or through Secrets Manager', () => {
    const context = readFileSync('../proto/src/sealed.rs', 'utf8');
    expect(context).toContain('pub const CONTEXT: &str = "access_key_id";');
    for (const role of ['ProxyRole', 'ControlRole', 'CommandRole']) {
      for (const it of statements(role).filter(({ Action }) =>
        [Action].flat().some((it) => it.startsWith('kms:')),
      )) {
        expect(JSON.stringify(it.Condition)).toMatch(
          /"kms:EncryptionContextKeys":\["access_key_id"\]|"kms:ViaService":"secretsmanager\./,
        );
      }
    }
  });

  test('of proxies do not read what is control’s', () => {
    const read = JSON.stringify(statements('ProxyRole', EVERYTHING));
    for (const secret of ['JwtSecret', 'AdminCredentials', 'ClusterSecret', 'BudgetWebhook']) {
      expect(read).not.toContain(secret);
    }
  });

  test('of commands read the way to the database only', () => {
    expect(actions('CommandRole')).toEqual(['kms:Decrypt', 'secretsmanager:GetSecretValue']);
    const [read] = statements('CommandRole').filter((it) => it.Sid === 'ReadSecrets');
    expect(JSON.stringify(read?.Resource)).toMatch(/^\{"Fn::ImportValue":"[^"]*ClusterSecret/);
    for (const name of ['migrate', 'command']) {
      const variables = container(name, EVERYTHING).Environment.map((it) => it.Name);
      expect(variables.filter((it) => it.endsWith('_ARN'))).toEqual(['PROXY_DATABASE_URL_ARN']);
    }
  });

  test('ask Bedrock only where that is switched on', () => {
    expect(actions('ProxyRole').join()).not.toContain('bedrock');
    expect(actions('ProxyRole', EVERYTHING)).toContain('bedrock:InvokeModel');
    expect(actions('ControlRole', EVERYTHING).join()).not.toContain('bedrock');
  });
});

function sources(folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return files
    .filter((name) => name.endsWith('.rs'))
    .map((name) => readFileSync(join(folder, name), 'utf8'));
}

function variables(source: string): string[] {
  return [...source.matchAll(/env = "([A-Z_]+)"/g)].flatMap(([, name]) => name ?? []);
}
