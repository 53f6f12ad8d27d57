/** What has just been done, said at the edge of the page for a few seconds. */

import { X } from 'lucide-react';
import { createContext, use, useCallback, useEffect, useState, type ReactNode } from 'react';

import { useMessages } from '@/messages/messages';

import { Button } from './button';

interface Notice {
  id: number;
  text: string;
}

const SHOWN_MS = 6_000;

const Context = createContext<(text: string) => void>(() => {});

export const useNotify = () => use(Context);

interface NoticesProviderProps {
  /** What else is said there, on top of them. */
  above: ReactNode;
  children: ReactNode;
}

export function NoticesProvider({ above, children }: NoticesProviderProps) {
  const [notices, setNotices] = useState<Notice[]>([]);
  const notify = useCallback((text: string) => {
    setNotices((before) => [...before, { id: (before.at(-1)?.id ?? 0) + 1, text }]);
  }, []);
  const remove = useCallback((id: number) => {
    setNotices((before) => before.filter((it) => it.id !== id));
  }, []);
  return (
    <Context value={notify}>
      {children}
      <div className="fixed right-4 bottom-4 z-50 flex w-88 max-w-[calc(100vw-2rem)] flex-col gap-2">
        {above}
        <div role="status" className="flex flex-col gap-2">
          {notices.map((notice) => (
            <OneNotice key={notice.id} notice={notice} onRemove={remove} />
          ))}
        </div>
      </div>
    </Context>
  );
}

interface OneNoticeProps {
  notice: Notice;
  onRemove: (id: number) => void;
}

/** Stays while somebody points at it. */
function OneNotice({ notice: { id, text }, onRemove }: OneNoticeProps) {
  const { actions } = useMessages();
  const [isHeld, setHeld] = useState(false);
  useEffect(() => {
    if (isHeld) return;
    const timer = setTimeout(() => onRemove(id), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [id, isHeld, onRemove]);
  return (
    <div
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      className="flex items-start justify-between gap-3 rounded-lg border border-line bg-surface py-2 pr-2 pl-4 shadow-lg"
    >
      <p className="py-1">{text}</p>
      <Button
        variant="quiet"
        size="smallIcon"
        aria-label={actions.dismiss}
        onClick={() => onRemove(id)}
      >
        <X />
      </Button>
    </div>
  );
}
