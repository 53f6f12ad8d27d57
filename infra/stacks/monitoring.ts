import { Stack, type StackProps } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as sns from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Construct } from 'constructs';

import { ERROR_LINES } from '../metrics.ts';
import type { Parameters } from '../parameters.ts';
import type { ComputeStack } from './compute.ts';
import type { DatabaseStack } from './database.ts';
import type { LoadBalancerStack } from './load-balancer.ts';
import { alarms, type AlarmDefinition, type Watched } from './monitoring/alarms.ts';
import { widgets } from './monitoring/dashboard.ts';

/** A dashboard, and alarms that say what to do. */
export class MonitoringStack extends Stack {
  constructor(scope: Construct, id: string, props: MonitoringProps) {
    super(scope, id, props);
    const { parameters, compute, database, loadBalancer } = props;
    this.countErrors(compute.log);
    const watched: Watched = {
      proxies: loadBalancer.proxies,
      control: loadBalancer.control,
      loadBalancer: loadBalancer.loadBalancer,
      database: database.cluster,
      proxy: compute.proxy,
    };
    const topic = this.topic(parameters);
    const made = alarms(watched, parameters).map((alarm) => this.alarm(alarm, topic, parameters));
    new cloudwatch.Dashboard(this, 'Dashboard', {
      dashboardName: 'ClaudeCodeProxy',
      widgets: widgets(watched, made),
    });
  }

  /**
   * The processes say `error` when somebody must act; the OpenTelemetry SDK also says it
   * of each batch that a collector has not taken, which waits until somebody looks.
   */
  private countErrors(logGroup: logs.ILogGroup) {
    const { namespace, metricName } = ERROR_LINES;
    new logs.MetricFilter(this, 'ErrorFilter', {
      logGroup,
      filterPattern: logs.FilterPattern.all(
        logs.FilterPattern.stringValue('$.level', '=', 'ERROR'),
        logs.FilterPattern.stringValue('$.target', '!=', 'opentelemetry*'),
      ),
      metricNamespace: namespace,
      metricName,
      metricValue: '1',
    });
  }

  private alarm(definition: AlarmDefinition, topic: sns.ITopic, { runbook_url }: Parameters) {
    const alarm = new cloudwatch.Alarm(this, definition.name, {
      alarmName: `ClaudeCodeProxy-${definition.name}`,
      alarmDescription: `${definition.says} Runbook: ${runbook_url}#${definition.runbook}`,
      metric: definition.metric,
      threshold: definition.threshold,
      comparisonOperator: definition.comparison,
      evaluationPeriods: definition.periods,
      datapointsToAlarm: definition.datapoints,
      treatMissingData: definition.missing,
    });
    alarm.addAlarmAction(new SnsAction(topic));
    alarm.addOkAction(new SnsAction(topic));
    return alarm;
  }

  private topic({ alarm_email }: Parameters): sns.Topic {
    const topic = new sns.Topic(this, 'Topic', {
      displayName: 'Claude Code Proxy',
      enforceSSL: true,
      masterKey: this.key(),
    });
    // enforceSSL gives the topic a policy, and with it goes what AWS grants by itself.
    topic.grantPublish(new iam.ServicePrincipal('cloudwatch.amazonaws.com'));
    if (alarm_email) topic.addSubscription(new EmailSubscription(alarm_email));
    return topic;
  }

  /** CloudWatch may not use the key that SNS has by itself. */
  private key(): kms.Key {
    const key = new kms.Key(this, 'Key', {
      description: 'Claude Code Proxy: alarms',
      enableKeyRotation: true,
    });
    key.grantEncryptDecrypt(new iam.ServicePrincipal('cloudwatch.amazonaws.com'));
    return key;
  }
}

interface MonitoringProps extends StackProps {
  readonly parameters: Parameters;
  readonly compute: ComputeStack;
  readonly database: DatabaseStack;
  readonly loadBalancer: LoadBalancerStack;
}
