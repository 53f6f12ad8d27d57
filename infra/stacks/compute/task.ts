import { Duration, Stack } from 'aws-cdk-lib';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type * as logs from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';

import { explain } from '../../explain.ts';
import type { Parameters } from '../../parameters.ts';
import { DRAIN } from '../../times.ts';

/** A repository of ECR, for whose images the task needs a permission. */
const ECR =
  /^(?<account>\d{12})\.dkr\.ecr\.(?<region>[\w-]+)\.amazonaws\.com\/(?<repository>[^:@]+)(?::|@)(?<version>.+)$/;

/** Two files for each connection; the default of 1024 would hold 462. */
const OPEN_FILES = 65_535;

interface TaskProps {
  readonly family: string;
  readonly taskRole: iam.IRole;
  readonly parameters: Parameters;
  readonly cpu: number;
  readonly memoryMiB: number;
}

export function task(scope: Construct, id: string, props: TaskProps): ecs.FargateTaskDefinition {
  const { parameters, memoryMiB, ...rest } = props;
  const definition = new ecs.FargateTaskDefinition(scope, id, {
    ...rest,
    memoryLimitMiB: memoryMiB,
    runtimePlatform: {
      operatingSystemFamily: ecs.OperatingSystemFamily.LINUX,
      cpuArchitecture: ecs.CpuArchitecture.of(parameters.cpu_architecture),
    },
  });
  explain(definition, {
    ECS2: 'Settings are variables; secrets are not among them, only the ARNs under which the processes read them.',
  });
  explain(definition.obtainExecutionRole(), {
    'IAM5[Resource::*]': 'ecr:GetAuthorizationToken knows no resource.',
  });
  return definition;
}

export interface Image {
  readonly name: string;
  readonly image: string;
  readonly program: string;
  readonly variables: Readonly<Record<string, string>>;
  readonly log: logs.ILogGroup;
  readonly logMode: ecs.AwsLogDriverMode;
  readonly command?: string[];
  readonly ports?: number[];
  /** The program tells how it is, so that the image needs nothing else. */
  readonly hasHealth?: boolean;
  readonly essential?: boolean;
}

/** A container that may write nothing but its log, and may do nothing a process need not. */
export function container(definition: ecs.FargateTaskDefinition, props: Image) {
  const added = definition.addContainer(props.name, {
    containerName: props.name,
    image: image(definition, props.image, props.name),
    entryPoint: [props.program],
    command: props.command ?? [],
    environment: props.variables,
    essential: props.essential ?? true,
    portMappings: (props.ports ?? []).map((containerPort) => ({ containerPort })),
    readonlyRootFilesystem: true,
    linuxParameters: hardened(definition, props.name),
    stopTimeout: DRAIN.stop,
    logging: ecs.LogDriver.awsLogs({
      logGroup: props.log,
      streamPrefix: 'ecs',
      mode: props.logMode,
    }),
    ...(props.hasHealth && {
      healthCheck: {
        command: ['CMD', props.program, 'health'],
        interval: Duration.seconds(15),
        timeout: Duration.seconds(5),
        retries: 3,
        startPeriod: Duration.seconds(60),
      },
    }),
  });
  added.addUlimits({
    name: ecs.UlimitName.NOFILE,
    softLimit: OPEN_FILES,
    hardLimit: OPEN_FILES,
  });
  return added;
}

function hardened(scope: Construct, name: string): ecs.LinuxParameters {
  const parameters = new ecs.LinuxParameters(scope, `${name}Linux`);
  parameters.dropCapabilities(ecs.Capability.ALL);
  return parameters;
}

function image(scope: Construct, reference: string, name: string): ecs.ContainerImage {
  const found = ECR.exec(reference)?.groups;
  if (!found) return ecs.ContainerImage.fromRegistry(reference);
  const { account = '', region = '', repository = '', version = '' } = found;
  const repositoryArn = Stack.of(scope).formatArn({
    service: 'ecr',
    account,
    region,
    resource: 'repository',
    resourceName: repository,
  });
  return ecs.ContainerImage.fromEcrRepository(
    ecr.Repository.fromRepositoryAttributes(scope, `${name}Repository`, {
      repositoryArn,
      repositoryName: repository,
    }),
    version,
  );
}
