import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import type * as ecs from 'aws-cdk-lib/aws-ecs';
import * as elb from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import type * as rds from 'aws-cdk-lib/aws-rds';

import { ERROR_LINES, METRICS, type Provider } from '../../metrics.ts';
import type { Parameters } from '../../parameters.ts';

/** What alarms and dashboard look at besides the processes' own metrics. */
export interface Watched {
  readonly proxies: elb.ApplicationTargetGroup;
  readonly control: elb.ApplicationTargetGroup;
  readonly loadBalancer: elb.ApplicationLoadBalancer;
  readonly database: rds.DatabaseCluster;
  readonly proxy: ecs.FargateService;
}

export interface AlarmDefinition {
  readonly name: string;
  /** The section of docs/runbook.md. */
  readonly runbook: string;
  readonly says: string;
  readonly metric: cloudwatch.IMetric;
  readonly comparison: cloudwatch.ComparisonOperator;
  readonly threshold: number;
  readonly periods: number;
  readonly datapoints: number;
  readonly missing: cloudwatch.TreatMissingData;
}

type Rule = Omit<AlarmDefinition, 'comparison' | 'missing'> & Partial<AlarmDefinition>;

/** Requests within the period below which a rate or a percentile says nothing. */
const MINIMUM = 10;

const { ComparisonOperator, TreatMissingData } = cloudwatch;

export function alarms(watched: Watched, parameters: Parameters): AlarmDefinition[] {
  return [
    errorRate('plan', 5),
    errorRate('bedrock', 1),
    latency('plan', parameters.plan_latency_ms),
    latency('bedrock', parameters.bedrock_latency_ms),
    fallbackRate(),
    unhealthy('UnhealthyTasks', 'unhealthy-tasks', 'proxies', watched.proxies),
    unhealthy('UnhealthyControl', 'control-unavailable', 'controls', watched.control),
    ...sync(),
    ...operations(watched),
  ].map((rule: Rule) => ({
    comparison: ComparisonOperator.GREATER_THAN_THRESHOLD,
    // Nobody asks at night, and nothing is wrong with that.
    missing: TreatMissingData.NOT_BREACHING,
    ...rule,
  }));
}

function errorRate(provider: Provider, percent: number): Rule {
  return {
    name: `HighErrorRate-${title(provider)}`,
    runbook: 'proxy-error-rate',
    says: `More than ${percent}% of the requests that ${provider} was asked have failed, of at least ${MINIMUM} in 5 minutes.`,
    metric: ifBusy('100 * FILL(errors, 0) / requests', METRICS.requestCount(provider), {
      errors: METRICS.errorCount(provider),
    }),
    threshold: percent,
    periods: 5,
    datapoints: 3,
  };
}

function latency(provider: Provider, milliseconds: number): Rule {
  return {
    name: `HighLatency-${title(provider)}`,
    runbook: 'proxy-latency',
    says: `${title(provider)} takes more than ${milliseconds} ms until the first byte, in the 95th percentile of at least ${MINIMUM} requests in 5 minutes.`,
    metric: ifBusy('1000 * latency', METRICS.requestCount(provider), {
      latency: METRICS.requestLatency(provider),
    }),
    threshold: milliseconds,
    periods: 5,
    datapoints: 3,
  };
}

function fallbackRate(): Rule {
  return {
    name: 'HighFallbackRate',
    runbook: 'fallback-rate',
    says: `More than 10% of the requests moved on to another provider, of at least ${MINIMUM} in 5 minutes that a provider was asked.`,
    metric: ifBusy('100 * FILL(fallbacks, 0) / requests', requestsOfProviders(), {
      fallbacks: METRICS.fallbackCount,
    }),
    threshold: 10,
    periods: 5,
    datapoints: 3,
  };
}

/**
 * Each counted once, which no metric does by itself: who moves on asks two providers,
 * and who has no valid key ends without any. Both counts are too high only, so the
 * lower one is the better; where nobody knocks without a key it is exact.
 */
function requestsOfProviders(): cloudwatch.MathExpression {
  return new cloudwatch.MathExpression({
    expression: 'MIN([ended, FILL(plan, 0) + FILL(bedrock, 0)])',
    usingMetrics: {
      ended: METRICS.requestsEnded,
      plan: METRICS.requestCount('plan'),
      bedrock: METRICS.requestCount('bedrock'),
    },
    period: Duration.minutes(5),
  });
}

function unhealthy(name: string, runbook: string, who: string, group: elb.ApplicationTargetGroup) {
  return {
    name,
    runbook,
    says: `Critical: fewer than two ${who} are healthy.`,
    metric: group.metrics.healthyHostCount({
      statistic: 'Minimum',
      period: Duration.minutes(1),
    }),
    comparison: ComparisonOperator.LESS_THAN_THRESHOLD,
    threshold: 2,
    periods: 1,
    datapoints: 1,
    // Who has no target has no metric either.
    missing: TreatMissingData.BREACHING,
  };
}

/** Between proxies and control. What is waited for, and for how long, is traffic enough. */
function sync(): Rule[] {
  const minutely = { period: Duration.minutes(1) };
  return [
    {
      name: 'UsageBacklog',
      runbook: 'usage-backlog',
      says: 'A proxy holds more than 10 000 usage events that control has not acknowledged; at 100 000 the newest are given up.',
      metric: METRICS.usageBacklog.with(minutely),
      threshold: 10_000,
      periods: 5,
      datapoints: 5,
    },
    {
      name: 'UsageDropped',
      runbook: 'usage-dropped',
      says: 'A proxy has given up usage events: they are in its log only.',
      metric: METRICS.usageDropped,
      threshold: 0,
      periods: 1,
      datapoints: 1,
    },
    {
      name: 'ProxiesBehind',
      runbook: 'proxies-behind',
      says: 'For three minutes a connected proxy has not applied the newest change: a revoked key may still work there.',
      metric: METRICS.proxiesBehind.with(minutely),
      threshold: 0,
      periods: 3,
      datapoints: 3,
    },
    {
      name: 'IndexAge',
      runbook: 'index-age',
      says: 'A proxy has not heard from control for more than two minutes.',
      metric: METRICS.indexAge.with(minutely),
      threshold: 120,
      periods: 3,
      datapoints: 3,
    },
    {
      name: 'UnpricedUsage',
      runbook: 'unpriced-usage',
      says: 'Requests have used a model without a price: they cost nothing in reports, and users with a budget are refused.',
      metric: METRICS.unpricedUsage,
      threshold: 0,
      periods: 1,
      datapoints: 1,
    },
  ];
}

function operations(watched: Watched): Rule[] {
  return [
    {
      name: 'CircuitsOpen',
      runbook: 'circuits-open',
      says: `For a quarter of an hour a proxy has sent requests of more than ${MINIMUM} access keys to Bedrock first.`,
      metric: METRICS.circuitOpen,
      threshold: MINIMUM,
      periods: 3,
      datapoints: 3,
    },
    {
      name: 'ErrorLines',
      runbook: 'error-lines',
      says: 'A process has logged an error: somebody must act.',
      metric: ERROR_LINES,
      threshold: 0,
      periods: 1,
      datapoints: 1,
    },
    {
      name: 'LoadBalancerErrors',
      runbook: 'load-balancer-errors',
      says: `The load balancer itself has answered more than ${MINIMUM} requests with a 5xx in 5 minutes.`,
      metric: watched.loadBalancer.metrics.httpCodeElb(elb.HttpCodeElb.ELB_5XX_COUNT, {
        statistic: 'Sum',
        period: Duration.minutes(5),
      }),
      threshold: MINIMUM,
      periods: 1,
      datapoints: 1,
    },
    {
      name: 'DatabaseAway',
      runbook: 'database-away',
      says: 'Critical: for three minutes no control has been able to follow the database.',
      metric: METRICS.databaseFollowed.with({ period: Duration.minutes(1) }),
      comparison: ComparisonOperator.LESS_THAN_THRESHOLD,
      threshold: 1,
      periods: 3,
      datapoints: 3,
    },
    {
      name: 'DatabaseLoad',
      runbook: 'database-load',
      says: 'For a quarter of an hour the database has used more than 90% of the capacity that it may grow to.',
      metric: watched.database.metricACUUtilization({
        statistic: 'Maximum',
        period: Duration.minutes(5),
      }),
      threshold: 90,
      periods: 3,
      datapoints: 3,
    },
  ];
}

/** An expression, where there are enough requests for it to say something; else 0. */
function ifBusy(
  expression: string,
  requests: cloudwatch.IMetric,
  more: Readonly<Record<string, cloudwatch.IMetric>>,
): cloudwatch.MathExpression {
  return new cloudwatch.MathExpression({
    expression: `IF(requests >= ${MINIMUM}, ${expression}, 0)`,
    usingMetrics: { requests, ...more },
    period: Duration.minutes(5),
  });
}

function title(provider: Provider): string {
  return provider === 'plan' ? 'Plan' : 'Bedrock';
}
