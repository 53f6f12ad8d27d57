import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';

import { ERROR_LINES, METRICS, type Provider } from '../../metrics.ts';
import type { Watched } from './alarms.ts';

const PROVIDERS: Provider[] = ['plan', 'bedrock'];

/** Alarms, then what developers notice, then what it is made of. */
export function widgets(watched: Watched, alarms: cloudwatch.IAlarm[]): cloudwatch.IWidget[][] {
  const { proxies, control, proxy, database } = watched;
  return [
    [new cloudwatch.AlarmStatusWidget({ title: 'Alarms', alarms, width: 24, height: 4 })],
    [
      graph(
        'Requests to providers',
        PROVIDERS.map((it) => METRICS.requestCount(it).with({ label: it })),
      ),
      graph(
        'Failures of providers',
        PROVIDERS.map((it) => METRICS.errorCount(it).with({ label: it })),
      ),
      graph('Until the first byte (s)', PROVIDERS.flatMap(percentiles)),
    ],
    [
      graph('Requests, and those that moved on', [METRICS.requestsEnded, METRICS.fallbackCount]),
      graph('Open circuits of a proxy', [METRICS.circuitOpen]),
      graph('Tokens on Bedrock', [
        METRICS.bedrockTokensUsed('input').with({ label: 'input' }),
        METRICS.bedrockTokensUsed('output').with({ label: 'output' }),
      ]),
    ],
    [
      graph('Open streams of a proxy', [
        METRICS.openStreams,
        METRICS.openStreams.with({ statistic: 'Maximum', label: 'most' }),
      ]),
      graph('CPU of proxies (%)', [proxy.metricCpuUtilization()]),
      graph('Healthy tasks', [healthy('proxy', proxies), healthy('control', control)]),
    ],
    [
      graph('Usage not acknowledged, given up', [METRICS.usageBacklog, METRICS.usageDropped]),
      graph('Since proxies heard from control (s)', [METRICS.indexAge]),
      graph('Proxies that control knows', [METRICS.proxiesConnected, METRICS.proxiesBehind]),
    ],
    [
      graph('Database, of its capacity (%)', [database.metricACUUtilization()]),
      graph('Database connections', [database.metricDatabaseConnections()]),
      graph('Usage without a price, lines that say error', [METRICS.unpricedUsage, ERROR_LINES]),
    ],
  ];
}

function percentiles(provider: Provider) {
  return ['p50', 'p95'].map((statistic) =>
    METRICS.requestLatency(provider, statistic).with({ label: `${provider} ${statistic}` }),
  );
}

function healthy(label: string, group: Watched['proxies']) {
  const period = Duration.minutes(1);
  return group.metrics.healthyHostCount({ label, statistic: 'Minimum', period });
}

function graph(title: string, left: cloudwatch.IMetric[]): cloudwatch.GraphWidget {
  return new cloudwatch.GraphWidget({ title, left, width: 8, height: 6, leftYAxis: { min: 0 } });
}
