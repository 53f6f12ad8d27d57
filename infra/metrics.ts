import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';

/**
 * The metrics that the processes write into their log in the embedded metric
 * format (PROXY_CLOUDWATCH_METRICS). CloudWatch adds up nothing over dimensions:
 * a metric is found under exactly the dimensions that it was written with.
 */
const NAMESPACE = 'ClaudeCodeProxy';

export type Provider = 'plan' | 'bedrock';

function metric(
  metricName: string,
  statistic: string,
  dimensionsMap: Readonly<Record<string, string>> = {},
) {
  return new cloudwatch.Metric({
    namespace: NAMESPACE,
    metricName,
    statistic,
    dimensionsMap,
    period: Duration.minutes(5),
  });
}

const PROXY = { Service: 'proxy' };
const CONTROL = { Service: 'control' };

export const METRICS = {
  /** How often a provider was asked; a request that moves on asks two. */
  requestCount: (Provider: Provider) => metric('RequestCount', 'Sum', { Provider }),
  /** Seconds until the first byte. */
  requestLatency: (Provider: Provider, statistic = 'p95') =>
    metric('RequestLatency', statistic, { Provider }),
  /** Of all types together; each is written with its ErrorType besides. */
  errorCount: (Provider: Provider) => metric('ErrorCount', 'Sum', { Provider }),
  bedrockTokensUsed: (TokenType: 'input' | 'output') =>
    metric('BedrockTokensUsed', 'Sum', { TokenType }),
  /** Once for each request, whatever was asked and whoever answered. */
  requestsEnded: metric('RequestsEnded', 'Sum', PROXY),
  fallbackCount: metric('FallbackCount', 'Sum', PROXY),
  usageDropped: metric('UsageDropped', 'Sum', PROXY),

  /** What each proxy has at the moment. */
  circuitOpen: metric('CircuitOpen', 'Maximum', PROXY),
  openStreams: metric('OpenStreams', 'Average', PROXY),
  usageBacklog: metric('UsageBacklog', 'Maximum', PROXY),
  indexAge: metric('IndexAge', 'Maximum', PROXY),

  /** What control knows of all of them, and whether it follows the database. */
  proxiesBehind: metric('ProxiesBehind', 'Maximum', CONTROL),
  proxiesConnected: metric('ProxiesConnected', 'Maximum', CONTROL),
  unpricedUsage: metric('UnpricedUsage', 'Sum', CONTROL),
  databaseFollowed: metric('DatabaseFollowed', 'Maximum', CONTROL),
};

/** Made here, out of the log. */
export const ERROR_LINES = metric('ErrorLines', 'Sum');
