import { clsx } from 'clsx';

interface MeterProps {
  label: string;
  /** 0 to 100 and beyond. */
  percent: number;
  className?: string;
}

/** How much is used up. The fill is an SVG, whose width needs no style. */
export function Meter({ label, percent, className }: MeterProps) {
  const tone = percent >= 100 ? 'fill-bad' : percent >= 80 ? 'fill-(--series-2)' : 'fill-accent';
  return (
    <svg
      role="meter"
      aria-label={label}
      aria-valuenow={Math.round(percent)}
      aria-valuemin={0}
      aria-valuemax={100}
      className={clsx('block h-1.5 w-full overflow-hidden rounded-full bg-sunken', className)}
    >
      <rect
        height="100%"
        width={`${Math.min(100, Math.max(percent > 0 ? 1.5 : 0, percent))}%`}
        rx="3"
        className={tone}
      />
    </svg>
  );
}
