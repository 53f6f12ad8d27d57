import { Duration, Stack, type StackProps } from 'aws-cdk-lib';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as elb from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import * as route53 from 'aws-cdk-lib/aws-route53';
import { LoadBalancerTarget } from 'aws-cdk-lib/aws-route53-targets';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';

import { explain } from '../explain.ts';
import { DATA_PLANE, ORIGIN_VERIFY, originDomain, originVerifySecret } from '../origin.ts';
import { EDGE_REGION, type Parameters } from '../parameters.ts';
import { PORTS } from '../ports.ts';
import { DRAIN, IDLE } from '../times.ts';
import type { NetworkStack } from './network.ts';

/**
 * The load balancer: HTTPS only, for our CloudFront only, to proxies or to
 * control by the path.
 *
 * It does not know who may use the console: the addresses that it sees are
 * CloudFront's. The list of those who may is the firewall's, in the edge stack.
 */
export class LoadBalancerStack extends Stack {
  readonly loadBalancer: elb.ApplicationLoadBalancer;
  readonly proxies: elb.ApplicationTargetGroup;
  readonly control: elb.ApplicationTargetGroup;

  constructor(scope: Construct, id: string, props: LoadBalancerProps) {
    const { parameters, network, ...stack } = props;
    super(scope, id, stack);
    this.loadBalancer = this.balancer(parameters, network);
    this.proxies = this.targets('Proxies', network, PORTS.proxy, DRAIN.deregistration);
    this.control = this.targets('Control', network, PORTS.admin, Duration.seconds(30));
    if (!parameters.cloudfront_prefix_list_id) this.redirect();
    this.listen(this.certificate(parameters), this.originVerify(parameters));
  }

  private balancer(parameters: Parameters, network: NetworkStack) {
    const loadBalancer = new elb.ApplicationLoadBalancer(this, 'LoadBalancer', {
      vpc: network.vpc,
      vpcSubnets: { subnetType: ec2.SubnetType.PUBLIC },
      securityGroup: network.loadBalancer,
      internetFacing: true,
      idleTimeout: IDLE.loadBalancer,
      deletionProtection: parameters.isProtected,
    });
    explain(loadBalancer, {
      ELB2: 'Access logs would hold access keys, which stand in the path. The canonical log line of the proxies is the access log.',
    });
    return loadBalancer;
  }

  private targets(id: string, { vpc }: NetworkStack, port: number, deregistration: Duration) {
    return new elb.ApplicationTargetGroup(this, id, {
      vpc,
      port,
      protocol: elb.ApplicationProtocol.HTTP,
      targetType: elb.TargetType.IP,
      deregistrationDelay: deregistration,
      healthCheck: {
        path: '/health',
        interval: Duration.seconds(30),
        timeout: Duration.seconds(5),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 3,
      },
    });
  }

  /** For people who have found it; CloudFront asks for HTTPS only. */
  private redirect() {
    this.loadBalancer.addListener('Http', {
      port: 80,
      open: false,
      defaultAction: elb.ListenerAction.redirect({
        protocol: 'HTTPS',
        port: '443',
        permanent: true,
      }),
    });
  }

  private listen(certificate: acm.ICertificate, secrets: secretsmanager.ISecret[]) {
    const listener = this.loadBalancer.addListener('Https', {
      port: 443,
      open: false,
      certificates: [certificate],
      sslPolicy: elb.SslPolicy.RECOMMENDED_TLS,
      defaultAction: elb.ListenerAction.fixedResponse(403, {
        contentType: 'text/plain',
        messageBody: 'Access denied',
      }),
    });
    const fromOurEdge = elb.ListenerCondition.httpHeader(
      ORIGIN_VERIFY,
      secrets.map((secret) => secret.secretValue.unsafeUnwrap()), // a reference, not the value
    );
    const paths = DATA_PLANE.map((path) => `${path}*`);
    listener.addAction('Proxies', {
      priority: 10,
      conditions: [fromOurEdge, elb.ListenerCondition.pathPatterns(paths)],
      action: elb.ListenerAction.forward([this.proxies]),
    });
    // `/admin/*`, `/api/*`, and whatever page of the console a browser is at.
    listener.addAction('Control', {
      priority: 20,
      conditions: [fromOurEdge],
      action: elb.ListenerAction.forward([this.control]),
    });
  }

  /** CloudFront hands on the name that it was asked for, so the certificate has both. */
  private certificate(parameters: Parameters): acm.ICertificate {
    const zone = route53.HostedZone.fromHostedZoneAttributes(this, 'Zone', {
      hostedZoneId: parameters.hosted_zone_id,
      zoneName: parameters.hosted_zone_name,
    });
    new route53.ARecord(this, 'Record', {
      zone,
      recordName: `${originDomain(parameters)}.`,
      target: route53.RecordTarget.fromAlias(new LoadBalancerTarget(this.loadBalancer)),
    });
    return new acm.Certificate(this, 'Certificate', {
      domainName: originDomain(parameters),
      subjectAlternativeNames: [parameters.domain_name],
      validation: acm.CertificateValidation.fromDns(zone),
    });
  }

  /**
   * What CloudFront shows. The last generation is taken, too, so that between the
   * deployment of this stack and that of the edge nobody is refused.
   */
  private originVerify({ region, origin_verify_generation: generation }: Parameters) {
    return [generation, generation - 1].filter(Boolean).map((generation) => {
      const secret = new secretsmanager.Secret(this, `OriginVerify${generation}`, {
        secretName: originVerifySecret(region, generation),
        description: `What CloudFront shows the load balancer in ${ORIGIN_VERIFY}`,
        generateSecretString: { passwordLength: 32, excludePunctuation: true },
        // The edge is elsewhere, and can read a secret of its own region only.
        ...(region === EDGE_REGION ? {} : { replicaRegions: [{ region: EDGE_REGION }] }),
      });
      explain(secret, {
        SMG4: 'It is replaced by a deployment with the next origin_verify_generation, because two stacks must learn of it.',
      });
      return secret;
    });
  }
}

interface LoadBalancerProps extends StackProps {
  readonly parameters: Parameters;
  readonly network: NetworkStack;
}
