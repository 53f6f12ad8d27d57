/** Numbers, money and times as people read them, in a language and a time zone. */

import type { BucketType } from '@/api/schema';

export type Formats = ReturnType<typeof formatsIn>;

type Time = string | Date;

const BUCKET_OPTIONS: Record<BucketType, Intl.DateTimeFormatOptions> = {
  minute: { hour: '2-digit', minute: '2-digit' },
  hour: { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' },
  day: { day: 'numeric', month: 'short' },
  week: { day: 'numeric', month: 'short' },
  month: { month: 'long', year: 'numeric' },
};

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];

export function formatsIn(language: string, zone: string) {
  const number = (options: Intl.NumberFormatOptions) => new Intl.NumberFormat(language, options);
  const time = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat(language, { hourCycle: 'h23', timeZone: zone, ...options });

  const counts = number({});
  const compacts = number({ notation: 'compact', maximumFractionDigits: 1 });
  const percents = number({ style: 'percent', maximumFractionDigits: 1 });
  const currency = { style: 'currency', currency: 'USD', currencyDisplay: 'narrowSymbol' } as const;
  const dollars = number(currency);
  const fractions = number({ ...currency, minimumFractionDigits: 2, maximumFractionDigits: 6 });
  const cents = number({ ...currency, maximumSignificantDigits: 2 });
  const compactDollars = number({
    ...currency,
    notation: 'compact',
    minimumFractionDigits: 0,
    maximumSignificantDigits: 3,
  });
  const dateTimes = time({ dateStyle: 'medium', timeStyle: 'short' });
  const exactTimes = time({ dateStyle: 'medium', timeStyle: 'medium' });
  const dates = time({ dateStyle: 'medium' });
  const dayMonths = time({ day: 'numeric', month: 'long' });
  const times = time({ hour: '2-digit', minute: '2-digit', second: '2-digit' });
  const buckets = Object.fromEntries(
    Object.entries(BUCKET_OPTIONS).map(([bucket, options]) => [bucket, time(options)]),
  ) as Record<BucketType, Intl.DateTimeFormat>;
  const hourTicks = time({ hour: '2-digit', minute: '2-digit' });
  const relatives = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });

  return {
    zone,
    language,
    count: (value: number) => counts.format(value),
    compact: (value: number) => compacts.format(value),
    /** Of a share, 0 to 1. */
    percent: (share: number) => percents.format(share),
    /** Two decimals, but what is less than a cent is not nothing. */
    usd: (value: string | number) => {
      const amount = Number(value);
      const isTiny = amount !== 0 && Math.abs(amount) < 0.01;
      return (isTiny ? cents : dollars).format(amount);
    },
    /** With as many decimals as there are: prices. */
    price: (value: string | number) => fractions.format(Number(value)),
    compactUsd: (value: number) => compactDollars.format(value),
    dateTime: (value: Time) => dateTimes.format(new Date(value)),
    exactTime: (value: Time) => exactTimes.format(new Date(value)),
    date: (value: Time) => dates.format(new Date(value)),
    dayMonth: (value: Time) => dayMonths.format(new Date(value)),
    time: (value: Time) => times.format(new Date(value)),
    bucket: (bucket: BucketType, start: Date) => buckets[bucket].format(start),
    /** Short, for an axis. */
    tick: (bucket: BucketType, start: Date) =>
      (bucket === 'hour' ? hourTicks : buckets[bucket]).format(start),
    /** "3 minutes ago". What is newer than our clock is now. */
    ago: (value: Time, now: Date) => {
      const seconds = Math.min(0, Math.round((new Date(value).getTime() - now.getTime()) / 1000));
      const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
      return relatives.format(Math.trunc(seconds / size), unit);
    },
    /** "4:07" of what is left. */
    remaining: (until: Time, now: Date) => {
      const left = Math.max(0, Math.ceil((new Date(until).getTime() - now.getTime()) / 1000));
      const minutes = Math.floor(left / 60);
      const rest = String(left % 60).padStart(2, '0');
      if (minutes < 60) return `${minutes}:${rest}`;
      return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}:${rest}`;
    },
    milliseconds: (value: number) =>
      value < 1000
        ? `${counts.format(value)} ms`
        : `${number({ maximumFractionDigits: 1 }).format(value / 1000)} s`,
  };
}
