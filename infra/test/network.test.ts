import { Match } from 'aws-cdk-lib/assertions';
import { expect, test } from 'vitest';

import { properties, template } from './synthesised.ts';

const network = template('Network', { environment: 'prod' });

test('there are two zones, and a way out in each in production', () => {
  network.resourceCountIs('AWS::EC2::Subnet', 6);
  network.resourceCountIs('AWS::EC2::NatGateway', 2);
  template('Network').resourceCountIs('AWS::EC2::NatGateway', 1);
});

test('what the processes ask of AWS stays within the VPC', () => {
  const endpoints = properties<{ ServiceName: unknown }>(network, 'AWS::EC2::VPCEndpoint');
  const names = JSON.stringify(endpoints.map((it) => it.ServiceName));
  for (const service of ['bedrock-runtime', 'ecr.api', 'ecr.dkr', 'kms', 'logs', 's3']) {
    expect(names).toContain(service);
  }
  expect(names).toContain('secretsmanager');
});

interface Ingress {
  readonly Description: string;
  readonly FromPort: number;
  readonly ToPort: number;
}

test('between the parts there is one port for each pair, and only control reaches the database', () => {
  const rules = properties<Ingress>(network, 'AWS::EC2::SecurityGroupIngress');
  expect(rules.map((it) => `${it.Description} ${it.FromPort}`).sort()).toEqual([
    'Postgres 5432',
    'administrators 8000',
    'clients 8080',
    'control 443',
    'proxies 443',
    'sync 8001',
  ]);
  expect(rules.every((it) => it.FromPort === it.ToPort)).toBe(true);
});

test('only the load balancer is open to everybody', () => {
  const groups = properties<{ SecurityGroupIngress?: unknown[]; GroupDescription: string }>(
    network,
    'AWS::EC2::SecurityGroup',
  );
  const open = groups.filter((it) => it.SecurityGroupIngress?.length);
  expect(open.map((it) => it.GroupDescription)).toEqual(['Claude Code Proxy: load balancer']);
});

/** The ports that a group may ask anywhere. */
function ways(who: 'proxies' | 'control', context: Readonly<Record<string, unknown>>): number[] {
  interface Group {
    readonly GroupDescription: string;
    readonly SecurityGroupEgress: { readonly CidrIp: string; readonly FromPort: number }[];
  }
  const groups = properties<Group>(template('Network', context), 'AWS::EC2::SecurityGroup');
  const [group] = groups.filter((it) => it.GroupDescription.endsWith(`: ${who}`));
  return group?.SecurityGroupEgress.map((it) => it.FromPort) ?? [];
}

test.each([
  ['http://collector.example.com:4317', [4317]],
  ['http://collector.example.com', [80]],
  // That port is open already.
  ['https://collector.example.com', []],
  [undefined, []],
])('a collector at %s is reached at %j by both processes', (collector_endpoint, ports) => {
  for (const who of ['proxies', 'control'] as const) {
    expect(ways(who, { collector_endpoint })).toEqual([443, ...ports]);
  }
});

test.each([
  ['https://example.com:8443/alerts', [8443]],
  ['http://example.com/alerts', [80]],
  ['https://example.com/alerts', []],
])('a webhook at %s is reached at %j by control only', (budget_webhook_url, ports) => {
  expect(ways('control', { budget_webhook_url })).toEqual([443, ...ports]);
  expect(ways('proxies', { budget_webhook_url })).toEqual([443]);
  // A port that both need is opened once.
  const collector_endpoint = 'http://collector.example.com';
  expect(ways('control', { collector_endpoint, budget_webhook_url })).toEqual([
    ...new Set([443, 80, ...ports]),
  ]);
});

test('the database has no way out', () => {
  network.hasResourceProperties('AWS::EC2::SecurityGroup', {
    GroupDescription: 'Claude Code Proxy: database',
    SecurityGroupEgress: [Match.objectLike({ CidrIp: '255.255.255.255/32' })],
  });
});
