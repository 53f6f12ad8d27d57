import type { AccessKey } from '@/api/schema';

/** What is known of a key, as one text. */
export function keyName({ key_prefix, name }: Pick<AccessKey, 'key_prefix' | 'name'>): string {
  return name ? `${name} (${key_prefix}…)` : `${key_prefix}…`;
}
