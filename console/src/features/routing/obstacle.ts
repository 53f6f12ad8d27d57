import type { AccessKeyWithCircuit } from '@/api/schema';

export type Obstacle =
  { kind: 'no_keys' } | { kind: 'no_credential'; missing: number; working: number };

/** Why a user cannot be routed to Bedrock only, as control would refuse it; null when it can. */
export function obstacle(
  keys: AccessKeyWithCircuit[],
  bedrock_use_role: boolean,
  now: Date,
): Obstacle | null {
  const over = (time: string | null | undefined) => Boolean(time && new Date(time) <= now);
  const working = keys.filter(
    (key) => key.status !== 'revoked' && !over(key.expires_at) && !over(key.rotation_expires_at),
  );
  if (working.length === 0) return { kind: 'no_keys' };
  const missing = working.filter((key) => !key.has_bedrock_key).length;
  if (missing === 0 || bedrock_use_role) return null;
  return { kind: 'no_credential', missing, working: working.length };
}
