import { Duration, SecretValue, Stack, type StackProps } from 'aws-cdk-lib';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { HttpOrigin } from 'aws-cdk-lib/aws-cloudfront-origins';
import * as route53 from 'aws-cdk-lib/aws-route53';
import { CloudFrontTarget } from 'aws-cdk-lib/aws-route53-targets';
import type { Construct } from 'constructs';

import { explain } from '../explain.ts';
import { ORIGIN_VERIFY, originDomain, originVerifySecret } from '../origin.ts';
import type { Parameters } from '../parameters.ts';
import { EDGE_PATIENCE, IDLE } from '../times.ts';
import { Firewall } from './edge/firewall.ts';

/**
 * CloudFront keeps these answers for ten seconds, also where it keeps no others, and
 * whoever asks for the same gets another one's error.
 */
const KEPT_ERRORS = [404, 405, 414, 500, 501, 502, 503, 504];

/** CloudFront in front of the load balancer, with a firewall. */
export class EdgeStack extends Stack {
  constructor(scope: Construct, id: string, { parameters, ...props }: EdgeProps) {
    super(scope, id, props);
    const zone = route53.HostedZone.fromHostedZoneAttributes(this, 'Zone', {
      hostedZoneId: parameters.hosted_zone_id,
      zoneName: parameters.hosted_zone_name,
    });
    const distribution = this.distribution(parameters, zone);
    const recordName = `${parameters.domain_name}.`;
    const target = route53.RecordTarget.fromAlias(new CloudFrontTarget(distribution));
    new route53.ARecord(this, 'Record', { zone, recordName, target });
    new route53.AaaaRecord(this, 'RecordIpv6', { zone, recordName, target });
  }

  private distribution(parameters: Parameters, zone: route53.IHostedZone) {
    const firewall = new Firewall(this, 'Firewall', { adminCidrs: parameters.admin_cidrs });
    const distribution = new cloudfront.Distribution(this, 'Distribution', {
      comment: 'Claude Code Proxy',
      domainNames: [parameters.domain_name],
      certificate: new acm.Certificate(this, 'Certificate', {
        domainName: parameters.domain_name,
        validation: acm.CertificateValidation.fromDns(zone),
      }),
      minimumProtocolVersion: cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
      httpVersion: cloudfront.HttpVersion.HTTP2_AND_3,
      priceClass: cloudfront.PriceClass.PRICE_CLASS_200,
      webAclId: firewall.arn,
      defaultBehavior: {
        origin: origin(parameters),
        viewerProtocolPolicy: cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
        allowedMethods: cloudfront.AllowedMethods.ALLOW_ALL,
        // Headers pass as they are, and so do answers.
        cachePolicy: cloudfront.CachePolicy.CACHING_DISABLED,
        originRequestPolicy: cloudfront.OriginRequestPolicy.ALL_VIEWER,
        compress: false,
      },
      // No page in their place: the answers are ours.
      errorResponses: KEPT_ERRORS.map((httpStatus) => ({ httpStatus, ttl: Duration.seconds(0) })),
    });
    explain(distribution, {
      CFR1: 'Developers work where they work; access is by key, and the console by address.',
      CFR3: 'Access logs would hold access keys, which stand in the path. The canonical log line of the proxies is the access log.',
    });
    return distribution;
  }
}

function origin(parameters: Parameters): HttpOrigin {
  const { region, origin_verify_generation: generation } = parameters;
  const secret = SecretValue.secretsManager(originVerifySecret(region, generation));
  return new HttpOrigin(originDomain(parameters), {
    protocolPolicy: cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
    originSslProtocols: [cloudfront.OriginSslPolicy.TLS_V1_2],
    readTimeout: EDGE_PATIENCE,
    keepaliveTimeout: IDLE.edge,
    customHeaders: { [ORIGIN_VERIFY]: secret.unsafeUnwrap() }, // a reference, not the value
  });
}

interface EdgeProps extends StackProps {
  readonly parameters: Parameters;
}
