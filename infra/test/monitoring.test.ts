import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { properties, template } from './synthesised.ts';

interface Alarm {
  readonly AlarmName: string;
  readonly AlarmDescription: string;
  readonly AlarmActions: unknown[];
  readonly Threshold: number;
  readonly EvaluationPeriods: number;
  readonly DatapointsToAlarm: number;
  readonly ComparisonOperator: string;
  readonly TreatMissingData: string;
  readonly MetricName?: string;
  readonly Period?: number;
  readonly Metrics?: {
    readonly Id: string;
    readonly Expression?: string;
    readonly MetricStat?: {
      readonly Stat: string;
      readonly Metric: { readonly MetricName: string; readonly Dimensions: unknown[] };
    };
  }[];
}

const alarms = (context = {}) =>
  properties<Alarm>(template('Monitoring', context), 'AWS::CloudWatch::Alarm');

function alarm(name: string): Alarm {
  const found = alarms().find((it) => it.AlarmName === `ClaudeCodeProxy-${name}`);
  if (!found) throw new Error(`there is no alarm ${name}`);
  return found;
}

describe('alarms', () => {
  test.each([
    ['HighErrorRate-Plan', 5, 'RequestCount,ErrorCount', 'plan'],
    ['HighErrorRate-Bedrock', 1, 'RequestCount,ErrorCount', 'bedrock'],
    ['HighLatency-Plan', 500, 'RequestCount,RequestLatency', 'plan'],
    ['HighLatency-Bedrock', 1000, 'RequestCount,RequestLatency', 'bedrock'],
  ])(
    '%s has the threshold of the first design and looks at one provider',
    (name, threshold, metrics, provider) => {
      const { Threshold, EvaluationPeriods, DatapointsToAlarm, Metrics } = alarm(name);
      expect([Threshold, EvaluationPeriods, DatapointsToAlarm]).toEqual([threshold, 5, 3]);
      const stats = Metrics?.flatMap((it) => it.MetricStat ?? []) ?? [];
      expect(stats.map((it) => it.Metric.MetricName).join()).toBe(metrics);
      for (const { Metric } of stats) {
        expect(Metric.Dimensions).toEqual([{ Name: 'Provider', Value: provider }]);
      }
    },
  );

  test('about a share of the requests are silent below ten of them', () => {
    const rates = alarms().filter((it) => it.Metrics);
    expect(rates.map((it) => it.AlarmName.replace('ClaudeCodeProxy-', '')).sort()).toEqual([
      'HighErrorRate-Bedrock',
      'HighErrorRate-Plan',
      'HighFallbackRate',
      'HighLatency-Bedrock',
      'HighLatency-Plan',
    ]);
    for (const { Metrics, AlarmName } of rates) {
      const [expression] = Metrics?.filter((it) => it.Expression?.startsWith('IF')) ?? [];
      expect(expression?.Expression, AlarmName).toMatch(/^IF\(requests >= 10, .*, 0\)$/);
    }
  });

  test('the share that moved on is one of requests that a provider was asked, each counted once', () => {
    const { Metrics = [], Threshold } = alarm('HighFallbackRate');
    const stats = Metrics.flatMap(({ Id, MetricStat }) => (MetricStat ? [{ Id, MetricStat }] : []));
    const looked = stats.map(({ Id, MetricStat: { Stat, Metric } }) => [
      Id,
      Stat,
      Metric.MetricName,
      ...Metric.Dimensions,
    ]);
    const proxy = { Name: 'Service', Value: 'proxy' };
    expect(looked).toEqual([
      ['ended', 'Sum', 'RequestsEnded', proxy],
      ['plan', 'Sum', 'RequestCount', { Name: 'Provider', Value: 'plan' }],
      ['bedrock', 'Sum', 'RequestCount', { Name: 'Provider', Value: 'bedrock' }],
      ['fallbacks', 'Sum', 'FallbackCount', proxy],
    ]);
    const expressions = Metrics.filter((it) => it.Expression);
    expect(expressions.map((it) => it.Expression)).toEqual([
      'IF(requests >= 10, 100 * FILL(fallbacks, 0) / requests, 0)',
      'MIN([ended, FILL(plan, 0) + FILL(bedrock, 0)])',
    ]);
    expect(expressions[1]?.Id).toBe('requests');
    expect(Threshold).toBe(10);
  });

  test('UnhealthyTasks comes after one minute with fewer than two, or with none at all', () => {
    for (const name of ['UnhealthyTasks', 'UnhealthyControl']) {
      expect(alarm(name)).toMatchObject({
        MetricName: 'HealthyHostCount',
        Period: 60,
        EvaluationPeriods: 1,
        ComparisonOperator: 'LessThanThreshold',
        Threshold: 2,
        TreatMissingData: 'breaching',
      });
    }
  });

  test('latency is compared in the unit that it is written in', () => {
    // RequestLatency is in seconds, the threshold in milliseconds.
    const expressions = alarm('HighLatency-Plan').Metrics?.flatMap((it) => it.Expression ?? []);
    expect(expressions).toEqual(['IF(requests >= 10, 1000 * latency, 0)']);
  });

  test.each(['UsageBacklog', 'UsageDropped', 'ProxiesBehind', 'IndexAge', 'UnpricedUsage'])(
    '%s looks at the metric of its name',
    (name) => {
      expect(alarm(name).MetricName).toBe(name);
    },
  );

  test('are told to somebody, each with its section of the runbook', () => {
    const runbook = readFileSync('../docs/runbook.md', 'utf8');
    const sections = [...runbook.matchAll(/^## (.*)$/gm)].map(([, title]) =>
      title?.toLowerCase().replaceAll(' ', '-'),
    );
    expect(alarms().length).toBeGreaterThan(10);
    for (const { AlarmName, AlarmDescription, AlarmActions } of alarms()) {
      expect(AlarmActions, AlarmName).toHaveLength(1);
      const section = / Runbook: docs\/runbook\.md#([a-z-]+)$/.exec(AlarmDescription)?.[1];
      expect(sections, AlarmName).toContain(section);
      expect(runbook, AlarmName).toContain(`\`${AlarmName.replace('ClaudeCodeProxy-', '')}\``);
    }
  });

  test('can link to where the runbook is read', () => {
    const runbook_url = 'https://wiki.example.com/runbook';
    for (const { AlarmDescription } of alarms({ runbook_url })) {
      expect(AlarmDescription).toContain(`Runbook: ${runbook_url}#`);
    }
  });

  test('go by mail where an address is given', () => {
    template('Monitoring').resourceCountIs('AWS::SNS::Subscription', 0);
    template('Monitoring', { alarm_email: 'ops@example.com' }).hasResourceProperties(
      'AWS::SNS::Subscription',
      { Protocol: 'email', Endpoint: 'ops@example.com' },
    );
  });
});

test('a line that says error is counted', () => {
  template('Monitoring').hasResourceProperties('AWS::Logs::MetricFilter', {
    FilterPattern: '{ ($.level = "ERROR") && ($.target != "opentelemetry*") }',
    MetricTransformations: [
      { MetricNamespace: 'ClaudeCodeProxy', MetricName: 'ErrorLines', MetricValue: '1' },
    ],
  });
  expect(alarm('ErrorLines').MetricName).toBe('ErrorLines');
});

test('the dashboard shows every metric that the first design names', () => {
  const body = JSON.stringify(
    properties<{ DashboardBody: unknown }>(template('Monitoring'), 'AWS::CloudWatch::Dashboard'),
  );
  for (const name of [
    'RequestCount',
    'RequestLatency',
    'ErrorCount',
    'FallbackCount',
    'CircuitOpen',
    'BedrockTokensUsed',
  ]) {
    expect(body).toContain(name);
  }
});

test('queries of the runbook ask for fields that lines have', () => {
  const runbook = readFileSync('../docs/runbook.md', 'utf8');
  const line = readFileSync('../proto/src/line.rs', 'utf8');
  const fields = new Set([...line.matchAll(/^ {4}pub (\w+):/gm)].map(([, name]) => name));
  const queries = [...runbook.matchAll(/```logs\n([^`]*)```/g)].flatMap(([, query]) => query ?? '');
  expect(queries.length).toBeGreaterThan(5);
  for (const query of queries) {
    expect(unknown(query, fields), query).toEqual([]);
  }
});

/** Words of a query that are neither its language, nor made by it, nor fields of a line. */
function unknown(query: string, fields: ReadonlySet<string | undefined>): string[] {
  const made = [...query.matchAll(/\bas (\w+)/g)].map(([, name]) => name);
  const words = query.replace(/"[^"]*"|\/[^/]*\/|@\w+|\b\d\w*\b/g, ' ').match(/[a-z]\w*/g) ?? [];
  return words.filter((word) => !LANGUAGE.has(word) && !made.includes(word) && !fields.has(word));
}

const LANGUAGE = new Set(
  `fields filter stats sort limit by as and or not in like desc asc bin count sum avg max min pct
   ispresent display concat error_count`.split(/\s+/),
);
