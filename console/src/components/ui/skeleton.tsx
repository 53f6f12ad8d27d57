import { clsx } from 'clsx';

import { useMessages } from '@/messages/messages';

/** Holds the place of what is being loaded. */
export function Skeleton({ className }: { className?: string }) {
  const { state } = useMessages();
  return (
    <div
      role="status"
      aria-label={state.loading}
      className={clsx('animate-pulse rounded-md bg-sunken', className)}
    />
  );
}
