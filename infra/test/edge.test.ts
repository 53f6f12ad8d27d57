import { readFileSync } from 'node:fs';

import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, test } from 'vitest';

import { assembly, properties, template } from './synthesised.ts';

const ACL = 'AWS::WAFv2::WebACL';

interface Acl {
  readonly Rules: {
    readonly Name: string;
    readonly Priority: number;
    readonly Statement: unknown;
    readonly VisibilityConfig: { readonly SampledRequestsEnabled: boolean };
  }[];
}

const rules = (context = {}) =>
  properties<Acl>(template('Edge', context), ACL).flatMap((acl) => acl.Rules);

function statement(name: string, context = {}): string {
  return JSON.stringify(rules(context).find((it) => it.Name === name)?.Statement);
}

test('it is where CloudFront is, after the load balancer', () => {
  const edge = assembly().getStackArtifact('Edge');
  expect(edge.environment.region).toBe('us-east-1');
  expect(edge.dependencies.map((it) => it.id)).toContain('LoadBalancer');
});

describe('CloudFront', () => {
  const configured = (config: unknown) => {
    template('Edge').hasResourceProperties('AWS::CloudFront::Distribution', {
      DistributionConfig: config,
    });
  };

  test('reaches the load balancer over TLS, and shows who it is', () => {
    configured({
      Origins: [
        Match.objectLike({
          DomainName: 'origin.proxy.example.com',
          CustomOriginConfig: Match.objectLike({ OriginProtocolPolicy: 'https-only' }),
          OriginCustomHeaders: [
            {
              HeaderName: 'X-Origin-Verify',
              HeaderValue:
                '{{resolve:secretsmanager:claude-code-proxy/origin-verify/ap-northeast-2/1:SecretString:::}}',
            },
          ],
        }),
      ],
    });
  });

  test('waits as long as it may without a higher quota', () => {
    configured({
      Origins: [
        Match.objectLike({
          CustomOriginConfig: Match.objectLike({ OriginReadTimeout: 120 }),
        }),
      ],
    });
    expect(readFileSync('../docs/ecs.md', 'utf8')).toContain('within 120 s, CloudFront’s patience');
  });

  test('keeps, compresses and changes nothing', () => {
    configured({
      DefaultCacheBehavior: {
        Compress: false,
        ViewerProtocolPolicy: 'redirect-to-https',
        CachePolicyId: '4135ea2d-6df8-44a3-9df3-4b5a84be39ad', // CachingDisabled
        OriginRequestPolicyId: '216adef6-5c7f-47e4-b989-5492eafa07d3', // AllViewer
      },
    });
  });

  test('keeps no errors either, and puts no page in their place', () => {
    // Those that it keeps by itself: its developer guide, "HTTP 4xx and 5xx status codes".
    const kept = [404, 405, 414, 500, 501, 502, 503, 504];
    configured({
      CustomErrorResponses: kept.map((ErrorCode) => ({ ErrorCode, ErrorCachingMinTTL: 0 })),
    });
  });

  test('logs no path, because access keys stand in it', () => {
    configured({ Logging: Match.absent() });
    expect(rules().some((it) => it.VisibilityConfig.SampledRequestsEnabled)).toBe(false);
  });
});

describe('the firewall', () => {
  const dataPlane = (path: string) => `"SearchString":"${path}"`;

  test('lets nobody but the listed addresses to anything that is not the proxies’', () => {
    expect(rules()[0]).toMatchObject({
      Name: 'AdminAddresses',
      Priority: 0,
      Action: { Block: {} },
      Statement: {
        AndStatement: {
          Statements: [
            { NotStatement: { Statement: { OrStatement: {} } } },
            { NotStatement: { Statement: { IPSetReferenceStatement: {} } } },
          ],
        },
      },
    });
    template('Edge').hasResourceProperties('AWS::WAFv2::IPSet', {
      IPAddressVersion: 'IPV4',
      Addresses: ['203.0.113.0/24'],
    });
  });

  test('knows addresses of both kinds', () => {
    const both = { admin_cidrs: '203.0.113.0/24, 2001:db8::/48' };
    template('Edge', both).hasResourceProperties('AWS::WAFv2::IPSet', {
      IPAddressVersion: 'IPV6',
      Addresses: ['2001:db8::/48'],
    });
    expect(statement('AdminAddresses', both).match(/IPSetReferenceStatement/g)).toHaveLength(2);
  });

  test('looks into no body of what goes to proxies', () => {
    for (const name of ['AWSManagedRulesCommonRuleSet', 'AWSManagedRulesKnownBadInputsRuleSet']) {
      const scope = /"ScopeDownStatement":\{"NotStatement":(.*)/.exec(statement(name))?.[1];
      expect(scope).toContain(dataPlane('/ak/'));
      expect(scope).toContain(dataPlane('/v1/'));
    }
  });

  test('exempts exactly what the load balancer gives to proxies', () => {
    const exempt = [...statement('AdminAddresses').matchAll(/"SearchString":"([^"]*)"/g)];
    template('LoadBalancer').hasResourceProperties('AWS::ElasticLoadBalancingV2::ListenerRule', {
      Conditions: Match.arrayWith([
        {
          Field: 'path-pattern',
          PathPatternConfig: { Values: exempt.map(([, path]) => `${path}*`) },
        },
      ]),
    });
    expect(statement('AdminAddresses')).not.toMatch(/"Type":"(?!NONE)/);
  });
});
