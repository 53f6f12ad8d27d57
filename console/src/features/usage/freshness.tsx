import { useQuery } from '@tanstack/react-query';

import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { usageQuery } from './api';
import type { Asked } from './filters';

/** From when the numbers are. */
export function Freshness({ asked }: { asked: Asked }) {
  const { state } = useMessages();
  const formats = useFormats();
  const { dataUpdatedAt } = useQuery(usageQuery(asked));
  if (dataUpdatedAt === 0) return null;
  return (
    <p className="text-xs text-muted tabular-nums">
      {state.updatedAt(formats.time(new Date(dataUpdatedAt)))}
    </p>
  );
}
