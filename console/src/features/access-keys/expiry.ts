import { dayOf, startOfDay } from '@/formats/zone';

/** How long a new key is to work. */
export type Expiry = 'never' | '30' | '90' | '365' | 'custom';

export const EXPIRIES: Expiry[] = ['never', '30', '90', '365', 'custom'];

/** The end of the last day, as clocks in the zone have it; null: never. */
export function expiresAt(expiry: Expiry, lastDay: string, now: Date, zone: string): string | null {
  if (expiry === 'never') return null;
  if (expiry !== 'custom') {
    return new Date(now.getTime() + Number(expiry) * 86_400_000).toISOString();
  }
  const noon = new Date(startOfDay(lastDay, zone).getTime() + 43_200_000);
  return startOfDay(dayOf(noon, zone, 1), zone).toISOString();
}
