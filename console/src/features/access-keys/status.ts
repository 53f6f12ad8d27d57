import type { AccessKey, AccessKeyStatus } from '@/api/schema';

/** How a key stands now: control ends expired ones a little later. */
export function statusOf(
  key: Pick<AccessKey, 'status' | 'expires_at' | 'rotation_expires_at'>,
  now: Date,
): AccessKeyStatus | 'expired' {
  const isOver = (time: string | null | undefined) => Boolean(time && new Date(time) <= now);
  if (key.status === 'revoked') return 'revoked';
  if (isOver(key.expires_at) || isOver(key.rotation_expires_at)) return 'expired';
  return key.status;
}
