import { Duration, RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as servicediscovery from 'aws-cdk-lib/aws-servicediscovery';
import type { Construct } from 'constructs';

import { METRICS } from '../metrics.ts';
import type { Parameters } from '../parameters.ts';
import { PORTS } from '../ports.ts';
import type { DatabaseStack } from './database.ts';
import { commandRole, controlRole, proxyRole } from './compute/roles.ts';
import { container, task, type Image } from './compute/task.ts';
import { commandVariables, controlVariables, proxyVariables } from './compute/variables.ts';
import type { LoadBalancerStack } from './load-balancer.ts';
import type { NetworkStack } from './network.ts';
import type { SecretsStack } from './secrets.ts';

/**
 * Streams of a proxy at which another one is started. At a model's pace half a
 * CPU is then half busy, and every stream may bring a body of a megabyte.
 */
const STREAMS = 200;

/** Where proxies find control, within the VPC. */
const CONTROL = { name: 'control', namespace: 'claude-code-proxy.internal' };

/** ECS Fargate: proxies, and control, each for itself. */
export class ComputeStack extends Stack {
  readonly proxy: ecs.FargateService;
  readonly control: ecs.FargateService;
  readonly log: logs.LogGroup;

  private readonly cluster: ecs.Cluster;

  constructor(scope: Construct, id: string, props: ComputeProps) {
    super(scope, id, props);
    this.log = new logs.LogGroup(this, 'Log', {
      logGroupName: '/ecs/claude-code-proxy',
      retention: logs.RetentionDays.ONE_MONTH,
      // It has the usage that was not delivered.
      removalPolicy: props.parameters.isProtected ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
    this.cluster = new ecs.Cluster(this, 'Cluster', {
      clusterName: 'claude-code-proxy',
      vpc: props.network.vpc,
      containerInsightsV2: ecs.ContainerInsights.ENABLED,
    });
    this.control = this.controlService(props);
    this.commandTask(props);
    this.proxy = this.proxyService(props);
    // A proxy without control's configuration knows nobody, and is not healthy.
    this.proxy.node.addDependency(this.control);
  }

  /**
   * Two of them, so that one can go; they hardly ever have more to do.
   *
   * The tables are brought to this version by a container that runs before
   * control does, in every task: control begins when that has ended with 0, and
   * not at all otherwise. Then the deployment fails, and the old tasks stay. It
   * needs no function that starts tasks and waits for them, and no order between
   * stacks. Of several at once one works, the others wait and find it done.
   */
  private controlService(props: ComputeProps): ecs.FargateService {
    const definition = task(this, 'ControlTask', {
      family: 'claude-code-control',
      taskRole: controlRole(this, props.secrets, props.database),
      parameters: props.parameters,
      cpu: 512,
      memoryMiB: 1024,
    });
    const migrate = container(definition, {
      ...this.controlImage(props),
      variables: commandVariables(props.parameters, props.database.secret),
      name: 'migrate',
      command: ['migrate'],
      essential: false,
    });
    const control = container(definition, {
      ...this.controlImage(props),
      variables: controlVariables(props.parameters, props.secrets, props.database.secret),
      name: 'control',
      command: ['serve'],
      ports: [PORTS.admin, PORTS.grpc],
      hasHealth: true,
    });
    control.addContainerDependencies({
      container: migrate,
      condition: ecs.ContainerDependencyCondition.SUCCESS,
    });
    const service = this.service('Control', definition, props.network.control, {
      serviceName: 'control',
      desiredCount: 2,
      cloudMapOptions: {
        name: CONTROL.name,
        cloudMapNamespace: new servicediscovery.PrivateDnsNamespace(this, 'Namespace', {
          name: CONTROL.namespace,
          vpc: props.network.vpc,
        }),
        // Found anew with each connection; a task that is gone is soon forgotten.
        dnsRecordType: servicediscovery.DnsRecordType.A,
        dnsTtl: Duration.seconds(10),
        container: control,
        containerPort: PORTS.grpc,
      },
    });
    props.loadBalancer.control.addTarget(
      service.loadBalancerTarget({ containerName: 'control', containerPort: PORTS.admin }),
    );
    return service;
  }

  /** For `aws ecs run-task`: what control does once, such as `new-epoch`. docs/ecs.md says how. */
  private commandTask(props: ComputeProps) {
    const definition = task(this, 'CommandTask', {
      family: 'claude-code-control-command',
      taskRole: commandRole(this, props.secrets, props.database),
      parameters: props.parameters,
      cpu: 512,
      memoryMiB: 1024,
    });
    container(definition, {
      ...this.controlImage(props),
      image: props.parameters.command_image,
      variables: commandVariables(props.parameters, props.database.secret),
      name: 'command',
      command: ['migrate'],
    });
  }

  private proxyService(props: ComputeProps): ecs.FargateService {
    const { parameters, secrets, loadBalancer } = props;
    const definition = task(this, 'ProxyTask', {
      family: 'claude-code-proxy',
      taskRole: proxyRole(this, secrets, parameters),
      parameters,
      cpu: 512,
      memoryMiB: 1024,
    });
    container(definition, {
      image: parameters.proxy_image,
      program: 'claude-code-proxy',
      name: 'proxy',
      log: this.log,
      // It writes from a thread of its own, and counts what it has to drop.
      logMode: ecs.AwsLogDriverMode.BLOCKING,
      variables: proxyVariables(parameters, secrets, control(PORTS.grpc)),
      ports: [PORTS.proxy],
      hasHealth: true,
    });
    const service = this.service('Proxy', definition, props.network.proxy, {
      serviceName: 'proxy',
    });
    loadBalancer.proxies.addTarget(
      service.loadBalancerTarget({ containerName: 'proxy', containerPort: PORTS.proxy }),
    );
    scale(service);
    return service;
  }

  private controlImage({ parameters }: ComputeProps) {
    return {
      image: parameters.control_image,
      program: 'claude-code-control',
      log: this.log,
      // Its threads write themselves, and must not wait for a log that is away.
      logMode: ecs.AwsLogDriverMode.NON_BLOCKING,
    } satisfies Partial<Image>;
  }

  private service(
    id: string,
    taskDefinition: ecs.FargateTaskDefinition,
    securityGroup: ec2.ISecurityGroup,
    props: Partial<ecs.FargateServiceProps>,
  ) {
    return new ecs.FargateService(this, id, {
      cluster: this.cluster,
      taskDefinition,
      securityGroups: [securityGroup],
      circuitBreaker: { enable: true, rollback: true },
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      healthCheckGracePeriod: Duration.minutes(5),
      enableExecuteCommand: false,
      propagateTags: ecs.PropagatedTagSource.SERVICE,
      ...props,
    });
  }
}

function control(port: number): string {
  return `http://${CONTROL.name}.${CONTROL.namespace}:${port}`;
}

/** On what a proxy is made of: streams that it holds, and the CPU that they take. */
function scale(service: ecs.FargateService) {
  const scaling = service.autoScaleTaskCount({ minCapacity: 2, maxCapacity: 50 });
  // Streams last; who is stopped early has to break some.
  const cooldowns = {
    scaleOutCooldown: Duration.minutes(1),
    scaleInCooldown: Duration.minutes(5),
  };
  scaling.scaleOnCpuUtilization('Cpu', { targetUtilizationPercent: 60, ...cooldowns });
  scaling.scaleToTrackCustomMetric('Streams', {
    // Every proxy writes its own number; the average is that of one.
    metric: METRICS.openStreams.with({ statistic: 'Average' }),
    targetValue: STREAMS,
    ...cooldowns,
  });
}

interface ComputeProps extends StackProps {
  readonly parameters: Parameters;
  readonly network: NetworkStack;
  readonly secrets: SecretsStack;
  readonly database: DatabaseStack;
  readonly loadBalancer: LoadBalancerStack;
}
