/** What has just been done, said at the edge of the page for a few seconds. */

import { X } from 'lucide-react';
import { Toast } from 'radix-ui';
import { createContext, use, useCallback, useState, type ReactNode } from 'react';

import { useMessages } from '@/messages/messages';

import { Button } from './button';

interface Notice {
  id: number;
  text: string;
}

const Context = createContext<(text: string) => void>(() => {});

export const useNotify = () => use(Context);

export function NoticesProvider({ children }: { children: ReactNode }) {
  const { actions } = useMessages();
  const [notices, setNotices] = useState<Notice[]>([]);
  const notify = useCallback((text: string) => {
    setNotices((before) => [...before, { id: (before.at(-1)?.id ?? 0) + 1, text }]);
  }, []);
  const remove = (id: number) => setNotices((before) => before.filter((it) => it.id !== id));
  return (
    <Context value={notify}>
      <Toast.Provider duration={6000}>
        {children}
        {notices.map(({ id, text }) => (
          <Toast.Root
            key={id}
            onOpenChange={(open) => !open && remove(id)}
            className="flex items-start justify-between gap-3 rounded-lg border border-line bg-surface py-2 pr-2 pl-4 shadow-lg"
          >
            <Toast.Description className="py-1">{text}</Toast.Description>
            <Toast.Close asChild>
              <Button variant="quiet" size="smallIcon" aria-label={actions.dismiss}>
                <X />
              </Button>
            </Toast.Close>
          </Toast.Root>
        ))}
        <Toast.Viewport className="fixed right-4 bottom-4 z-60 flex w-88 max-w-[calc(100vw-2rem)] flex-col gap-2 outline-none" />
      </Toast.Provider>
    </Context>
  );
}
