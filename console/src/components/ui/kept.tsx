/** A dialog that stays open wherever somebody goes, since what it shows is shown once. */

import { createContext, use, useCallback, useEffect, useState, type ReactNode } from 'react';

type Dialog = (onClose: () => void) => ReactNode;

const Context = createContext<(dialog: Dialog) => void>(() => {});

export const useKeep = () => use(Context);

export function KeptProvider({ children }: { children: ReactNode }) {
  const [dialog, setDialog] = useState<Dialog | null>(null);
  const keep = useCallback((kept: Dialog) => setDialog(() => kept), []);
  return (
    <Context value={keep}>
      {children}
      {dialog?.(() => setDialog(null))}
    </Context>
  );
}

/** The browser asks before it reloads or leaves the console. */
export function useAskBeforeLeaving(asks = true) {
  useEffect(() => {
    if (!asks) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', ask);
    return () => window.removeEventListener('beforeunload', ask);
  }, [asks]);
}
