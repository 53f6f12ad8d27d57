import { useQuery } from '@tanstack/react-query';
import { TriangleAlert } from 'lucide-react';

import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { usageQuery } from './api';
import type { Asked } from './filters';

/** Which zone times are in, and from when the numbers are. */
export function Freshness({ asked }: { asked: Asked }) {
  const { state } = useMessages();
  const formats = useFormats();
  const { dataUpdatedAt, isError } = useQuery(usageQuery(asked));
  const at = formats.time(new Date(dataUpdatedAt));
  return (
    <p className="text-xs text-muted">
      {state.zone(formats.zone)}
      {dataUpdatedAt > 0 && (
        <>
          {' · '}
          {isError ? (
            <span className="inline-flex items-center gap-1 text-warn">
              <TriangleAlert aria-hidden className="size-3" />
              {state.stale(at)}
            </span>
          ) : (
            <span className="tabular-nums">{state.updatedAt(at)}</span>
          )}
        </>
      )}
    </p>
  );
}
