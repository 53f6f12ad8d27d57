import { TriangleAlert } from 'lucide-react';
import { Link } from 'react-router';

import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

/** Says that so many requests are in no cost; nothing when there are none. */
export function Unpriced({ requests }: { requests: number }) {
  const { figures: says } = useMessages();
  const formats = useFormats();
  if (requests === 0) {
    return null;
  }
  return (
    <div className="flex gap-2 rounded-lg bg-warn-soft px-3 py-2 text-warn">
      <TriangleAlert aria-hidden className="mt-0.5 size-4 shrink-0" />
      <p>
        {says.unpriced(formats.count(requests))}{' '}
        <Link to="/pricing" className="underline underline-offset-2">
          {says.unpricedLink}
        </Link>
      </p>
    </div>
  );
}
