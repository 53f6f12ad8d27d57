import { Duration } from 'aws-cdk-lib';

/**
 * How long an idle connection is kept, from the client inwards. Each hop closes
 * before the next one does, or it would send a request into a connection that is
 * just being closed; proxies and control keep one for 400 s. All are longer than the
 * 15 s (PROXY_PING_INTERVAL) after which a silent stream gets a ping.
 *
 * For the load balancer a connection that waits for an answer is idle, too; so its
 * time is longer than the 300 s (PROXY_FIRST_BYTE_TIMEOUT) that an upstream has.
 */
export const IDLE = {
  edge: Duration.seconds(60),
  loadBalancer: Duration.seconds(360),
};

/**
 * How long CloudFront waits for the next byte: what it can without a higher quota.
 * It is the shortest patience on the way of an answer that is no stream.
 */
export const EDGE_PATIENCE = Duration.seconds(120);

/**
 * What a task may take to stop, from SIGTERM on. A proxy needs its drain timeout,
 * 2 s to say farewell, 6 s to deliver its usage and 5 s for the last measurements to
 * a collector; then it is killed. Fargate allows 120 s and no more, so the drain
 * timeout is shorter than its default of 110 s. Control needs 45 s.
 *
 * Whether ECS tells a task to stop while it is being deregistered or afterwards,
 * its streams have the drain timeout.
 */
export const DRAIN = {
  timeout: Duration.seconds(100),
  stop: Duration.seconds(120),
  deregistration: Duration.seconds(120),
};
