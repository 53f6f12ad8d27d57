import { CfnOutput, Fn, RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as logs from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';

import { explain } from '../explain.ts';
import type { Parameters } from '../parameters.ts';
import { PORTS } from '../ports.ts';

const { InterfaceVpcEndpointAwsService: Service, Peer, Port, SubnetType } = ec2;

/** What the tasks ask AWS for goes through these, and not out to the internet. */
const ENDPOINTS = {
  BedrockRuntime: Service.BEDROCK_RUNTIME,
  EcrApi: Service.ECR,
  EcrDocker: Service.ECR_DOCKER,
  Kms: Service.KMS,
  Logs: Service.CLOUDWATCH_LOGS,
  SecretsManager: Service.SECRETS_MANAGER,
};

/** VPC over two availability zones, and who may speak to whom in it. */
export class NetworkStack extends Stack {
  readonly vpc: ec2.Vpc;
  readonly loadBalancer: ec2.SecurityGroup;
  readonly proxy: ec2.SecurityGroup;
  readonly control: ec2.SecurityGroup;
  readonly database: ec2.SecurityGroup;

  constructor(scope: Construct, id: string, { parameters, ...props }: NetworkProps) {
    super(scope, id, props);
    this.vpc = this.network(parameters);
    this.loadBalancer = this.securityGroup('LoadBalancer', 'load balancer');
    this.proxy = this.securityGroup('Proxy', 'proxies');
    this.control = this.securityGroup('Control', 'control');
    this.database = this.securityGroup('Database', 'database');
    this.permit(parameters);
    this.endpoints();
    const subnets = this.vpc.privateSubnets.map(({ subnetId }) => subnetId).join(',');
    new CfnOutput(this, 'CommandNetwork', {
      description: 'For aws ecs run-task --network-configuration: commands of control',
      value: `awsvpcConfiguration={subnets=[${subnets}],securityGroups=[${this.control.securityGroupId}]}`,
    });
  }

  /**
   * The first two of the region, whichever these are. Without this, CDK asks the
   * account for their names, and a synthesis needs one.
   */
  override get availabilityZones(): string[] {
    return [0, 1].map((zone) => Fn.select(zone, Fn.getAzs()));
  }

  private network({ natGateways }: Parameters): ec2.Vpc {
    const vpc = new ec2.Vpc(this, 'Vpc', {
      ipAddresses: ec2.IpAddresses.cidr('10.0.0.0/16'),
      maxAzs: 2,
      natGateways,
      restrictDefaultSecurityGroup: false,
      subnetConfiguration: [
        { name: 'Public', subnetType: SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false },
        { name: 'Private', subnetType: SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 24 },
        { name: 'Database', subnetType: SubnetType.PRIVATE_ISOLATED, cidrMask: 24 },
      ],
    });
    // Layers of images lie in S3.
    vpc.addGatewayEndpoint('S3', { service: ec2.GatewayVpcEndpointAwsService.S3 });
    vpc.addFlowLog('Refused', {
      trafficType: ec2.FlowLogTrafficType.REJECT,
      destination: ec2.FlowLogDestination.toCloudWatchLogs(
        new logs.LogGroup(this, 'RefusedLog', {
          retention: logs.RetentionDays.ONE_MONTH,
          removalPolicy: RemovalPolicy.DESTROY,
        }),
      ),
    });
    return vpc;
  }

  private endpoints() {
    const endpoints = this.securityGroup('Endpoints', 'endpoints of AWS');
    for (const [name, service] of Object.entries(ENDPOINTS)) {
      this.vpc.addInterfaceEndpoint(name, { service, securityGroups: [endpoints], open: false });
    }
    endpoints.addIngressRule(this.proxy, Port.tcp(443), 'proxies');
    endpoints.addIngressRule(this.control, Port.tcp(443), 'control');
  }

  private securityGroup(id: string, description: string): ec2.SecurityGroup {
    return new ec2.SecurityGroup(this, id, {
      vpc: this.vpc,
      description: `Claude Code Proxy: ${description}`,
      allowAllOutbound: false,
    });
  }

  /** Who may speak to whom. Names are looked up past them, at the VPC's own resolver. */
  private permit(parameters: Parameters) {
    const { loadBalancer, proxy, control, database } = this;
    this.permitEdge(parameters);
    connect(loadBalancer, proxy, PORTS.proxy, 'clients');
    connect(loadBalancer, control, PORTS.admin, 'administrators');
    connect(proxy, control, PORTS.grpc, 'sync');
    connect(control, database, PORTS.database, 'Postgres');
    proxy.addEgressRule(Peer.anyIpv4(), Port.tcp(443), 'Anthropic API, Bedrock, AWS');
    control.addEgressRule(Peer.anyIpv4(), Port.tcp(443), 'AWS, budget alerts');
    this.permitOwn(parameters);
  }

  /**
   * The list counts as 55 of the 60 rules that a security group has, so there is room
   * for one port. CloudFront asks for no other.
   */
  private permitEdge({ cloudfront_prefix_list_id: list }: Parameters) {
    const { loadBalancer } = this;
    if (list) {
      loadBalancer.addIngressRule(Peer.prefixList(list), Port.tcp(443), 'CloudFront');
      return;
    }
    loadBalancer.addIngressRule(Peer.anyIpv4(), Port.tcp(443), 'CloudFront');
    loadBalancer.addIngressRule(Peer.anyIpv4(), Port.tcp(80), 'redirected to HTTPS');
    explain(loadBalancer, {
      EC23: 'Whoever does not bring the secret header of our CloudFront is answered 403; cloudfront_prefix_list_id closes it to all others.',
    });
  }

  /** Where the operator's own URLs lead, as far as 443 does not. */
  private permitOwn({ collector_endpoint, budget_webhook_url }: Parameters) {
    reach(this.proxy, [[collector_endpoint, 'OpenTelemetry collector']]);
    reach(this.control, [
      [collector_endpoint, 'OpenTelemetry collector'],
      [budget_webhook_url, 'budget alerts'],
    ]);
  }
}

interface NetworkProps extends StackProps {
  readonly parameters: Parameters;
}

function reach(from: ec2.SecurityGroup, targets: readonly [string | undefined, string][]) {
  const open = new Set([443]);
  for (const [url, what] of targets) {
    if (!url || open.has(portOf(url))) continue;
    open.add(portOf(url));
    from.addEgressRule(Peer.anyIpv4(), Port.tcp(portOf(url)), what);
  }
}

function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return Number(port) || (protocol === 'https:' ? 443 : 80);
}

function connect(from: ec2.SecurityGroup, to: ec2.SecurityGroup, port: number, what: string) {
  to.addIngressRule(from, Port.tcp(port), what);
  from.addEgressRule(to, Port.tcp(port), what);
}
