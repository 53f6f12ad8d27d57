/** Calendar arithmetic in a time zone, as far as buckets and months need it. */

import type { BucketType } from '@/api/schema';

/** A time as clocks in a zone show it; `month` counts from 1. */
interface Clock {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
}

const clocks = new Map<string, Intl.DateTimeFormat>();

function clockOf(zone: string) {
  let clock = clocks.get(zone);
  if (!clock) {
    clock = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
    });
    clocks.set(zone, clock);
  }
  return clock;
}

function read(at: Date, zone: string): Clock {
  const parts = Object.fromEntries(
    clockOf(zone)
      .formatToParts(at)
      .map(({ type, value }) => [type, Number(value)]),
  );
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0 } = parts;
  return { year, month, day, hour, minute };
}

/** Milliseconds by which clocks in the zone are ahead of UTC. */
function offset(at: Date, zone: string) {
  const { year, month, day, hour, minute } = read(at, zone);
  const shown = Date.UTC(year, month - 1, day, hour, minute);
  return shown - Math.floor(at.getTime() / 60_000) * 60_000;
}

/** When a day begins; where clocks jump over midnight, it is the jump. */
export function midnight(year: number, month: number, day: number, zone: string): Date {
  const utc = Date.UTC(year, month - 1, day);
  // The offsets of half a day before and after are all there can be.
  const early = utc - offset(new Date(utc - 43_200_000), zone);
  const late = utc - offset(new Date(utc + 43_200_000), zone);
  const candidates = [Math.min(early, late), Math.max(early, late)].map((at) => new Date(at));
  const exact = candidates.find((at) => {
    const clock = read(at, zone);
    return clock.day === new Date(utc).getUTCDate() && clock.hour === 0 && clock.minute === 0;
  });
  return exact ?? candidates[1] ?? new Date(utc);
}

/** `YYYY-MM-DD` in the zone, some days later. */
export function dayOf(at: Date, zone: string, later = 0): string {
  const { year, month, day } = read(at, zone);
  return new Date(Date.UTC(year, month - 1, day + later)).toISOString().slice(0, 10);
}

/** The beginning of a `YYYY-MM-DD`. */
export function startOfDay(date: string, zone: string): Date {
  const [year = 0, month = 0, day = 0] = date.split('-').map(Number);
  return midnight(year, month, day, zone);
}

/** The beginning of the bucket that a time is in, as control has them. */
export function startOf(bucket: BucketType, at: Date, zone: string): Date {
  const { year, month, day, minute } = read(at, zone);
  const minuteStart = Math.floor(at.getTime() / 60_000) * 60_000;
  switch (bucket) {
    case 'minute':
      return new Date(minuteStart);
    case 'hour':
      return new Date(minuteStart - minute * 60_000);
    case 'day':
      return midnight(year, month, day, zone);
    case 'week': {
      const sinceSunday = new Date(Date.UTC(year, month - 1, day)).getUTCDay();
      return midnight(year, month, day - sinceSunday, zone);
    }
    case 'month':
      return midnight(year, month, 1, zone);
  }
}

/** The beginning of the bucket after the one that begins then. */
export function nextStart(bucket: BucketType, start: Date, zone: string): Date {
  const { year, month, day } = read(start, zone);
  switch (bucket) {
    case 'minute':
      return new Date(start.getTime() + 60_000);
    case 'hour':
      return startOf('hour', new Date(start.getTime() + 3_600_000), zone);
    case 'day':
      return midnight(year, month, day + 1, zone);
    case 'week':
      return midnight(year, month, day + 7, zone);
    case 'month':
      return midnight(year, month + 1, 1, zone);
  }
}

/** The beginnings of all buckets that a range touches, in order. */
export function bucketStarts(bucket: BucketType, from: Date, to: Date, zone: string): Date[] {
  const starts: Date[] = [];
  let start = startOf(bucket, from, zone);
  while (start < to) {
    starts.push(start);
    start = nextStart(bucket, start, zone);
  }
  return starts;
}
