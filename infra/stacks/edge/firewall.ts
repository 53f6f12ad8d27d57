import * as wafv2 from 'aws-cdk-lib/aws-wafv2';
import { Construct } from 'constructs';

import { DATA_PLANE } from '../../origin.ts';

type Statement = wafv2.CfnWebACL.StatementProperty;
type Rule = Omit<wafv2.CfnWebACL.RuleProperty, 'priority' | 'visibilityConfig'>;

/** Requests of one address within five minutes: a console in use makes some hundred. */
const RATE = 2000;

/**
 * Whom the edge lets in, and what is looked at.
 *
 * Prompts are full of code, which looks like an attack to every rule that looks
 * into bodies; a developer would get a 403 that Claude Code cannot explain. So
 * what goes to the proxies is judged by its address only: their own check is the
 * access key.
 */
export class Firewall extends Construct {
  readonly arn: string;

  constructor(scope: Construct, id: string, { adminCidrs }: FirewallProps) {
    super(scope, id);
    const rules: Rule[] = [
      {
        name: 'AdminAddresses',
        statement: and(not(isDataPlane()), not(any(this.addresses(adminCidrs)))),
        action: { block: {} },
      },
      managed('AWSManagedRulesAmazonIpReputationList'),
      managed('AWSManagedRulesCommonRuleSet', not(isDataPlane())),
      managed('AWSManagedRulesKnownBadInputsRuleSet', not(isDataPlane())),
      {
        name: 'AdminRate',
        statement: {
          rateBasedStatement: {
            limit: RATE,
            aggregateKeyType: 'IP',
            scopeDownStatement: not(isDataPlane()),
          },
        },
        action: { block: {} },
      },
    ];
    this.arn = new wafv2.CfnWebACL(this, 'WebAcl', {
      scope: 'CLOUDFRONT',
      defaultAction: { allow: {} },
      visibilityConfig: visibility('ClaudeCodeProxy'),
      rules: rules.map((rule, priority) => ({
        ...rule,
        priority,
        visibilityConfig: visibility(rule.name),
      })),
    }).attrArn;
  }

  /** One set for each kind of address that is named. */
  private addresses(cidrs: string[]): Statement[] {
    const isIpv6 = (cidr: string) => cidr.includes(':');
    const sets = [
      { version: 'IPV4', addresses: cidrs.filter((cidr) => !isIpv6(cidr)) },
      { version: 'IPV6', addresses: cidrs.filter(isIpv6) },
    ];
    return sets
      .filter(({ addresses }) => addresses.length > 0)
      .map(({ version, addresses }) => {
        const set = new wafv2.CfnIPSet(this, `Admin${version}`, {
          scope: 'CLOUDFRONT',
          ipAddressVersion: version,
          addresses,
        });
        return { ipSetReferenceStatement: { arn: set.attrArn } };
      });
  }
}

interface FirewallProps {
  readonly adminCidrs: string[];
}

function managed(name: string, scopeDownStatement?: Statement): Rule {
  const group = { vendorName: 'AWS', name, ...(scopeDownStatement && { scopeDownStatement }) };
  return {
    name,
    statement: { managedRuleGroupStatement: group },
    overrideAction: { none: {} },
  };
}

function isDataPlane(): Statement {
  return any(
    DATA_PLANE.map((path) => ({
      byteMatchStatement: {
        fieldToMatch: { uriPath: {} },
        positionalConstraint: 'STARTS_WITH',
        searchString: path,
        textTransformations: [{ priority: 0, type: 'NONE' }],
      },
    })),
  );
}

const and = (...statements: Statement[]): Statement => ({ andStatement: { statements } });
const not = (statement: Statement): Statement => ({ notStatement: { statement } });

/** AWS takes no "or" of one. */
function any(statements: Statement[]): Statement {
  const [only, ...more] = statements;
  return only && more.length === 0 ? only : { orStatement: { statements } };
}

/** Samples would show paths, and access keys in them. */
function visibility(metricName: string) {
  return { metricName, cloudWatchMetricsEnabled: true, sampledRequestsEnabled: false };
}
