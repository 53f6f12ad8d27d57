import { useQuery } from '@tanstack/react-query';
import { TriangleAlert } from 'lucide-react';

import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { usageQuery } from './api';
import type { Asked } from './filters';

/** From when the numbers are. */
export function Freshness({ asked }: { asked: Asked }) {
  const { state } = useMessages();
  const formats = useFormats();
  const { dataUpdatedAt, isError } = useQuery(usageQuery(asked));
  if (dataUpdatedAt === 0) return null;
  const at = formats.time(new Date(dataUpdatedAt));
  return isError ? (
    <p className="inline-flex items-center gap-1 text-xs text-warn">
      <TriangleAlert aria-hidden className="size-3" />
      {state.stale(at)}
    </p>
  ) : (
    <p className="text-xs text-muted tabular-nums">{state.updatedAt(at)}</p>
  );
}
