import { describe, expect, test } from 'vitest';

import { parameters } from '../parameters.ts';
import { SAMPLE } from '../sample.ts';

describe('context variables', () => {
  test('those of the first design keep their names and defaults', () => {
    expect(parameters(SAMPLE)).toMatchObject({
      region: 'ap-northeast-2',
      environment: 'dev',
      log_level: 'info',
    });
    expect(parameters({ ...SAMPLE, account: '222222222222' }).account).toBe('222222222222');
  });

  test.each([
    ['INFO', 'info'],
    ['WARNING', 'warn'],
    ['debug', 'debug'],
  ])('log_level %s is what the processes call %s', (log_level, expected) => {
    expect(parameters({ ...SAMPLE, log_level }).log_level).toBe(expected);
  });

  test.each([
    ['account', '1234'],
    ['region', 'Seoul'],
    ['environment', 'staging'],
    ['log_level', 'loud'],
    ['domain_name', 'https://proxy.example.com'],
    ['domain_name', undefined],
    ['hosted_zone_id', 'example.com'],
    ['admin_cidrs', ''],
    ['admin_cidrs', undefined],
    ['admin_cidrs', '0.0.0.0/0'],
    ['admin_cidrs', '203.0.113.0/24, office'],
    ['proxy_image', 'claude-code-proxy'],
    ['control_image', 'example.com/claude-code-control:latest'],
    ['cpu_architecture', 'MIPS'],
    ['plan_api_key_arn', 'sk-ant-company'],
    ['budget_webhook_url', 'example.com'],
    ['collector_endpoint', 'collector:4317'],
    ['cloudfront_prefix_list_id', 'com.amazonaws.global.cloudfront.origin-facing'],
    ['origin_verify_generation', '0'],
    ['plan_latency_ms', 'fast'],
    ['proxy_settings', 'PROXY_MAX_STALENESS=600'],
    ['proxy_settings', '["PROXY_MAX_STALENESS"]'],
    ['control_settings', '{"usage_retention_days": "7"}'],
    ['admin_cidr', '203.0.113.0/24'],
    ['alarmEmail', 'ops@example.com'],
    ['alarm-email', 'ops@example.com'],
    ['hosted_zone_name', 'https://example.com'],
  ])('%s = %s is refused, and named', (name, value) => {
    expect(() => parameters({ ...SAMPLE, [name]: value })).toThrow(` ${name}: `);
  });

  test('all that are wrong are said at once', () => {
    expect(() => parameters({})).toThrow(
      /domain_name: must be set\n.*hosted_zone_id: must be set\n.*admin_cidrs: must be set/,
    );
  });

  test.each([
    ['proxy.example.com', 'proxy.example.com'],
    ['proxy.example.com', 'example.com'],
    ['a.proxy.example.com', 'example.com'],
  ])('%s is a name in the zone %s', (domain_name, hosted_zone_name) => {
    expect(parameters({ ...SAMPLE, domain_name, hosted_zone_name })).toMatchObject({
      domain_name,
      hosted_zone_name,
    });
  });

  test.each([
    ['proxy.example.com', 'example.org'],
    ['notexample.com', 'example.com'],
    ['example.com', 'proxy.example.com'],
  ])('%s is none in the zone %s', (domain_name, hosted_zone_name) => {
    expect(() => parameters({ ...SAMPLE, domain_name, hosted_zone_name })).toThrow(
      ` domain_name: must be in hosted_zone_name, ${hosted_zone_name}`,
    );
  });

  test('those of CDK itself do not matter', () => {
    const cdks = {
      '@aws-cdk/core:checkSecretUsage': true,
      'aws:cdk:enable-path-metadata': true,
      'cli-telemetry': false,
    };
    expect(parameters({ ...SAMPLE, ...cdks })).toEqual(parameters(SAMPLE));
  });

  test('a value of cdk.json need not be a text', () => {
    const read = parameters({ ...SAMPLE, bedrock_use_role: true, origin_verify_generation: 2 });
    expect(read).toMatchObject({ bedrock_use_role: true, origin_verify_generation: 2 });
  });
});
