import { useLayoutEffect, useRef, useState } from 'react';

/**
 * Whether a table has no room in its box. What it needs is found out by looking, because it
 * depends on what is in it; it is noted, because a table that is stacked no longer shows it.
 */
export function useStacking() {
  const box = useRef<HTMLDivElement>(null);
  /** The width that there was not, in pixels. */
  const [lacking, setLacking] = useState<number | null>(null);

  // Again after every rendering: there may be other texts in it.
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const look = () => {
      const room = element.clientWidth;
      const needed = lacking ?? element.scrollWidth;
      setLacking(needed > room ? needed : null);
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    return () => observer.disconnect();
  });

  return { box, isStacked: lacking !== null };
}
