import { useMessages } from '@/messages/messages';

/** One way, and the other way when it is closed. */
export function Logo() {
  const { product } = useMessages();
  return (
    <span className="inline-flex items-center gap-2 font-semibold tracking-tight">
      <svg aria-hidden viewBox="0 0 32 32" className="size-6 shrink-0">
        <rect width="32" height="32" rx="8" className="fill-accent" />
        <path
          d="M8 11h7l3 5h6M8 21h7l3-5"
          fill="none"
          strokeWidth="2.6"
          strokeLinecap="round"
          strokeLinejoin="round"
          className="stroke-(--on-accent)"
        />
      </svg>
      {product}
    </span>
  );
}
