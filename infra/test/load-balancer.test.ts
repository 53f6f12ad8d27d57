import { readFileSync } from 'node:fs';

import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, test } from 'vitest';

import { IDLE } from '../times.ts';
import { properties, template } from './synthesised.ts';

const RULE = 'AWS::ElasticLoadBalancingV2::ListenerRule';
const LISTENER = 'AWS::ElasticLoadBalancingV2::Listener';

interface Rule {
  readonly Conditions: {
    readonly Field: string;
    readonly HttpHeaderConfig?: { readonly HttpHeaderName: string; readonly Values: unknown[] };
  }[];
}

const rules = (context = {}) => properties<Rule>(template('LoadBalancer', context), RULE);

const shown = (rule: Rule) =>
  rule.Conditions.flatMap((condition) => condition.HttpHeaderConfig?.Values ?? []);

describe('who comes past the edge', () => {
  test('is answered 403', () => {
    template('LoadBalancer').hasResourceProperties(LISTENER, {
      Port: 443,
      Protocol: 'HTTPS',
      DefaultActions: [{ Type: 'fixed-response', FixedResponseConfig: { StatusCode: '403' } }],
    });
  });

  test('finds no rule that does not ask for the secret header', () => {
    expect(rules()).toHaveLength(2);
    for (const rule of rules()) {
      const asked = rule.Conditions.find((it) => it.Field === 'http-header');
      expect(asked?.HttpHeaderConfig?.HttpHeaderName).toBe('X-Origin-Verify');
    }
  });

  test('is led to HTTPS', () => {
    template('LoadBalancer').hasResourceProperties(LISTENER, {
      Port: 80,
      DefaultActions: [{ Type: 'redirect', RedirectConfig: { Protocol: 'HTTPS' } }],
    });
  });
});

test('with CloudFront’s list of addresses nobody else reaches it, and port 80 is closed', () => {
  const closed = { cloudfront_prefix_list_id: 'pl-0123abcd' };
  const network = template('Network', closed);
  network.allResourcesProperties('AWS::EC2::SecurityGroup', {
    SecurityGroupIngress: Match.absent(),
  });
  const lists = Match.objectLike({ SourcePrefixListId: 'pl-0123abcd', FromPort: 443, ToPort: 443 });
  network.resourcePropertiesCountIs('AWS::EC2::SecurityGroupIngress', lists, 1);
  const ports = properties<{ Port: number }>(template('LoadBalancer', closed), LISTENER);
  expect(ports.map((it) => it.Port)).toEqual([443]);
  // The header is asked for nevertheless: CloudFront is everybody's.
  expect(rules(closed).flatMap(shown)).toHaveLength(2);
});

test('what developers ask goes to proxies, everything else to control', () => {
  const balancer = template('LoadBalancer');
  balancer.hasResourceProperties(RULE, {
    Priority: 10,
    Conditions: Match.arrayWith([
      { Field: 'path-pattern', PathPatternConfig: { Values: ['/ak/*', '/v1/*'] } },
    ]),
    Actions: [{ Type: 'forward', TargetGroupArn: { Ref: Match.stringLikeRegexp('^Proxies') } }],
  });
  balancer.hasResourceProperties(RULE, {
    Priority: 20,
    Actions: [{ Type: 'forward', TargetGroupArn: { Ref: Match.stringLikeRegexp('^Control') } }],
  });
});

test('health is asked as the first design did', () => {
  template('LoadBalancer').allResourcesProperties('AWS::ElasticLoadBalancingV2::TargetGroup', {
    HealthCheckPath: '/health',
    HealthCheckIntervalSeconds: 30,
    HealthCheckTimeoutSeconds: 5,
    HealthyThresholdCount: 2,
    UnhealthyThresholdCount: 3,
  });
});

describe('the secret header', () => {
  test('is a reference, and the edge finds it in its own region', () => {
    expect(JSON.stringify(rules().map(shown))).toContain('{{resolve:secretsmanager:');
    template('LoadBalancer').hasResourceProperties('AWS::SecretsManager::Secret', {
      ReplicaRegions: [{ Region: 'us-east-1' }],
    });
    const there = template('LoadBalancer', { region: 'us-east-1' });
    there.hasResourceProperties('AWS::SecretsManager::Secret', { ReplicaRegions: Match.absent() });
  });

  test('is replaced without refusing anybody', () => {
    const before = rules({ origin_verify_generation: 1 }).flatMap(shown);
    const after = rules({ origin_verify_generation: 2 }).flatMap(shown);
    for (const value of before) expect(after).toContainEqual(value);
    const edge = JSON.stringify(template('Edge', { origin_verify_generation: 2 }).toJSON());
    expect(edge).toContain('claude-code-proxy/origin-verify/ap-northeast-2/2:');
  });
});

test('an idle connection is closed from outside inwards, and never between two pings', () => {
  const number = (file: string, pattern: RegExp) =>
    Number(pattern.exec(readFileSync(file, 'utf8'))?.[1]);
  const kept = /const (?:KEEP_ALIVE|IDLE\w*): Duration = Duration::from_secs\((\d+)\)/;
  const settings = '../proxy/src/settings.rs';
  const ping = number(settings, /"PROXY_PING_INTERVAL", default_value = "(\d+)"/);
  const firstByte = number(settings, /"PROXY_FIRST_BYTE_TIMEOUT", default_value = "(\d+)"/);
  const edge = IDLE.edge.toSeconds();
  const loadBalancer = IDLE.loadBalancer.toSeconds();
  expect(ping).toBeLessThan(edge);
  expect(edge).toBeLessThan(loadBalancer);
  expect(firstByte).toBeLessThan(loadBalancer);
  for (const process of ['../proxy/src/ingress.rs', '../control/src/http.rs']) {
    expect(loadBalancer, process).toBeLessThan(number(process, kept));
  }
  template('LoadBalancer').hasResourceProperties('AWS::ElasticLoadBalancingV2::LoadBalancer', {
    LoadBalancerAttributes: Match.arrayWith([
      { Key: 'idle_timeout.timeout_seconds', Value: `${loadBalancer}` },
    ]),
  });
});
