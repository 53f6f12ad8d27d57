import { ChevronLeft, ChevronRight } from 'lucide-react';

import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { Button } from './button';

interface PagerProps {
  offset: number;
  limit: number;
  total: number;
  onMove: (offset: number) => void;
}

/** Where one is in a long list, and the pages before and after. */
export function Pager({ offset, limit, total, onMove }: PagerProps) {
  const { pages } = useMessages();
  const formats = useFormats();
  if (total === 0) return null;
  const end = Math.min(offset + limit, total);
  return (
    <nav className="flex items-center justify-between gap-2 px-4 py-2 sm:px-5">
      <p className="text-xs text-muted tabular-nums">
        {pages.range(formats.count(offset + 1), formats.count(end), formats.count(total))}
      </p>
      <div className="flex gap-1">
        <Button
          variant="quiet"
          size="smallIcon"
          aria-label={pages.previous}
          disabled={offset === 0}
          onClick={() => onMove(Math.max(0, offset - limit))}
        >
          <ChevronLeft />
        </Button>
        <Button
          variant="quiet"
          size="smallIcon"
          aria-label={pages.next}
          disabled={end >= total}
          onClick={() => onMove(offset + limit)}
        >
          <ChevronRight />
        </Button>
      </div>
    </nav>
  );
}
