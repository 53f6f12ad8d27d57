import { clsx } from 'clsx';
import type { ComponentProps } from 'react';

const VARIANTS = {
  primary: 'border-transparent bg-accent text-on-accent hover:bg-accent-hover',
  secondary: 'border-line bg-surface text-ink shadow-card hover:bg-sunken',
  quiet: 'border-transparent text-muted hover:bg-sunken hover:text-ink',
  danger: 'border-transparent bg-bad text-surface hover:opacity-90',
};

const SIZES = {
  medium: 'h-9 px-3',
  small: 'h-7 px-2 text-xs',
  icon: 'size-9 justify-center',
  smallIcon: 'size-7 justify-center',
};

export interface ButtonLook {
  variant?: keyof typeof VARIANTS;
  size?: keyof typeof SIZES;
}

/** The look of a button, for links too. */
export function buttonLook({ variant = 'secondary', size = 'medium' }: ButtonLook = {}) {
  return clsx(
    'inline-flex shrink-0 items-center gap-1.5 rounded-md border font-medium whitespace-nowrap transition-colors',
    'disabled:cursor-not-allowed disabled:opacity-55 [&_svg]:size-4 [&_svg]:shrink-0',
    VARIANTS[variant],
    SIZES[size],
  );
}

export function Button({
  variant,
  size,
  className,
  type = 'button',
  ...props
}: ComponentProps<'button'> & ButtonLook) {
  return (
    <button type={type} className={clsx(buttonLook({ variant, size }), className)} {...props} />
  );
}
