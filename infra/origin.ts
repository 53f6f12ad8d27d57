/**
 * What edge and load balancer have to agree on: where one finds the other, how
 * it shows who it is, and which paths are the proxies'.
 */
import type { Parameters } from './parameters.ts';

export const ORIGIN_VERIFY = 'X-Origin-Verify';

/**
 * How the paths begin that go to proxies; all others go to control. The firewall
 * and the load balancer compare the same text, as the client has written it, so
 * nothing is exempt from the one that the other gives to control.
 */
export const DATA_PLANE = ['/ak/', '/v1/'];

/** The load balancer's own name, for CloudFront; people use domain_name. */
export function originDomain({ domain_name }: Parameters): string {
  return `origin.${domain_name}`;
}

/** The region is in the name because all regions' secrets meet in that of the edge. */
export function originVerifySecret(region: string, generation: number): string {
  return `claude-code-proxy/origin-verify/${region}/${generation}`;
}
