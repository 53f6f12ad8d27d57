import { dayOf, startOfDay } from '@/formats/zone';

/** How long a key is to work. */
export type Expiry = 'never' | '30' | '90' | '365' | 'custom';

export const EXPIRIES: Expiry[] = ['never', '30', '90', '365', 'custom'];

/** What the form says of it. */
interface Choice {
  expiry: Expiry;
  /** `YYYY-MM-DD`, of a custom one. */
  lastDay: string;
}

/** What the form says of a key as it is. */
export function choiceOf(expires_at: string | null, zone: string): Choice {
  if (!expires_at) return { expiry: 'never', lastDay: '' };
  // The last moment of a key is in its last day.
  return { expiry: 'custom', lastDay: dayOf(new Date(new Date(expires_at).getTime() - 1), zone) };
}

/** The end of the last day, as clocks in the zone have it; null: never. */
export function expiresAt({ expiry, lastDay }: Choice, now: Date, zone: string): string | null {
  if (expiry === 'never') return null;
  if (expiry !== 'custom') {
    return new Date(now.getTime() + Number(expiry) * 86_400_000).toISOString();
  }
  const noon = new Date(startOfDay(lastDay, zone).getTime() + 43_200_000);
  return startOfDay(dayOf(noon, zone, 1), zone).toISOString();
}

/** A key may expire within a day; whoever leaves the day as it was does not move it to the end. */
export function isSameChoice(one: Choice, other: Choice): boolean {
  return one.expiry === other.expiry && (one.expiry !== 'custom' || one.lastDay === other.lastDay);
}
