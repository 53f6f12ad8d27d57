import { useEffect, useState } from 'react';

import { timeNow } from './clock';

/** Control's time, again every so many milliseconds. */
export function useNow(everyMs = 30_000): Date {
  const [now, setNow] = useState(timeNow);
  useEffect(() => {
    const timer = setInterval(() => setNow(timeNow()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
