import { Duration, RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as rds from 'aws-cdk-lib/aws-rds';
import type * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';

import { explain } from '../explain.ts';
import type { Parameters } from '../parameters.ts';
import type { NetworkStack } from './network.ts';

const NAME = 'claude-code-proxy';

/** Aurora PostgreSQL Serverless v2: one that writes, one that takes over in another zone. */
export class DatabaseStack extends Stack {
  readonly cluster: rds.DatabaseCluster;
  /** Address and password, as RDS writes them. */
  readonly secret: secretsmanager.ISecret;

  constructor(scope: Construct, id: string, props: DatabaseProps) {
    const { parameters, network, key, ...stack } = props;
    super(scope, id, stack);
    const engine = rds.DatabaseClusterEngine.auroraPostgres({
      version: rds.AuroraPostgresEngineVersion.VER_17_4,
    });
    const log = new logs.LogGroup(this, 'Log', {
      logGroupName: `/aws/rds/cluster/${NAME}/postgresql`,
      retention: logs.RetentionDays.ONE_MONTH,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    // Fixed names, so that a restored cluster can take the place of this one.
    this.cluster = new rds.DatabaseCluster(this, 'Cluster', {
      clusterIdentifier: NAME,
      engine,
      writer: this.instance('writer'),
      readers: [this.instance('reader', { scaleWithWriter: true })],
      serverlessV2MinCapacity: 0.5,
      serverlessV2MaxCapacity: parameters.databaseMaxCapacity,
      defaultDatabaseName: 'proxy',
      credentials: rds.Credentials.fromGeneratedSecret('postgres', {
        secretName: `${NAME}/database`,
        encryptionKey: key,
      }),
      parameterGroup: new rds.ParameterGroup(this, 'Parameters', {
        engine,
        description: 'Claude Code Proxy',
        parameters: { 'rds.force_ssl': '1' },
      }),
      vpc: network.vpc,
      vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
      securityGroups: [network.database],
      storageEncrypted: true,
      storageEncryptionKey: key,
      backup: { retention: Duration.days(7), preferredWindow: '03:00-04:00' },
      copyTagsToSnapshot: true,
      cloudwatchLogsExports: ['postgresql'],
      deletionProtection: parameters.isProtected,
      // A last snapshot would be of no use: its key is deleted with the other stack.
      removalPolicy: parameters.isProtected ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
    // RDS would make it itself, and keep it for ever.
    this.cluster.node.addDependency(log);
    this.secret = attached(this.cluster);
    this.explainExceptions(parameters);
  }

  private instance(role: 'writer' | 'reader', props: rds.ServerlessV2ClusterInstanceProps = {}) {
    return rds.ClusterInstance.serverlessV2(role === 'writer' ? 'Writer' : 'Reader', {
      instanceIdentifier: `${NAME}-${role}`,
      autoMinorVersionUpgrade: true,
      ...props,
    });
  }

  private explainExceptions({ isProtected }: Parameters) {
    explain(this.cluster, {
      RDS6: 'Control signs in with the password of its secret, over TLS, from its own security group only; a second way in would serve nobody.',
    });
    if (!isProtected) {
      explain(this.cluster, {
        RDS10: 'Environments that are not protected can be deleted, with all that they hold.',
      });
    }
    explain(this, {
      SMG4: 'Control reads the password at start, so a new one needs new tasks: docs/ecs.md says how.',
    });
  }
}

function attached({ secret }: rds.DatabaseCluster): secretsmanager.ISecret {
  if (!secret) throw new Error('the cluster has made no secret');
  return secret;
}

interface DatabaseProps extends StackProps {
  readonly parameters: Parameters;
  readonly network: NetworkStack;
  readonly key: kms.IKey;
}
