import { App, Tags, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';

import { EDGE_REGION, parameters } from './parameters.ts';
import { ComputeStack } from './stacks/compute.ts';
import { DatabaseStack } from './stacks/database.ts';
import { EdgeStack } from './stacks/edge.ts';
import { LoadBalancerStack } from './stacks/load-balancer.ts';
import { MonitoringStack } from './stacks/monitoring.ts';
import { NetworkStack } from './stacks/network.ts';
import { SecretsStack } from './stacks/secrets.ts';

/** CDK's newer behaviour, where it concerns us. */
const FLAGS = {
  '@aws-cdk/aws-ecs:arnFormatIncludesClusterName': true,
  '@aws-cdk/aws-ecs:disableExplicitDeploymentControllerForCircuitBreaker': true,
  '@aws-cdk/aws-ecs:removeDefaultDeploymentAlarm': true,
  '@aws-cdk/aws-iam:minimizePolicies': true,
  '@aws-cdk/aws-kms:reduceCrossAccountRegionPolicyScope': true,
  '@aws-cdk/aws-rds:preventRenderingDeprecatedCredentials': true,
  '@aws-cdk/aws-secretsmanager:useAttachedSecretResourcePolicyForSecretTargetAttachments': true,
  '@aws-cdk/core:checkSecretUsage': true,
  '@aws-cdk/core:enablePartitionLiterals': true,
  '@aws-cdk/core:explicitStackTags': true,
  '@aws-cdk/core:target-partitions': ['aws'],
};

/** All stacks, in the order in which they need each other. */
export function createApp(context: Readonly<Record<string, unknown>> = {}, outdir?: string): App {
  const app = new App({
    context: { ...FLAGS, ...context },
    analyticsReporting: false,
    ...(outdir && { outdir }),
  });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  createStacks(app);
  return app;
}

function createStacks(app: App) {
  const read = parameters(app.node.getAllContext() as Record<string, unknown>);
  const { account, region, isProtected } = read;
  const props = (name: string, at = region) => ({
    parameters: read,
    stackName: `ClaudeCodeProxy-${name}`,
    env: { region: at, ...(account && { account }) },
  });
  const lasting = { terminationProtection: isProtected };

  const network = new NetworkStack(app, 'Network', props('Network'));
  const secrets = new SecretsStack(app, 'Secrets', { ...props('Secrets'), ...lasting });
  const { key } = secrets;
  const database = new DatabaseStack(app, 'Database', {
    ...props('Database'),
    ...lasting,
    network,
    key,
  });
  const loadBalancer = new LoadBalancerStack(app, 'LoadBalancer', {
    ...props('LoadBalancer'),
    network,
  });
  const compute = new ComputeStack(app, 'Compute', {
    ...props('Compute'),
    network,
    secrets,
    database,
    loadBalancer,
  });
  const edge = new EdgeStack(app, 'Edge', props('Edge', EDGE_REGION));
  edge.addStackDependency(loadBalancer);
  new MonitoringStack(app, 'Monitoring', {
    ...props('Monitoring'),
    compute,
    database,
    loadBalancer,
  });
  Tags.of(app).add('application', 'claude-code-proxy');
  Tags.of(app).add('environment', read.environment);
}
