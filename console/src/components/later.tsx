import { Unplug } from 'lucide-react';
import { createElement, useCallback, useEffect, useState } from 'react';
import type { ComponentType, ReactNode } from 'react';

import { Button } from '@/components/ui/button';
import { Empty } from '@/components/ui/empty';
import { useMessages } from '@/messages/messages';

/**
 * What is loaded when it is shown, or ahead of that. Not `lazy`, which keeps a failure for
 * good, and shows what it has waited for 300 ms later at the earliest.
 */
export function later<Props extends object>(
  load: () => Promise<ComponentType<Props>>,
  meanwhile: ReactNode = null,
) {
  let loaded: ComponentType<Props> | null = null;
  let loading: Promise<void> | null = null;

  const ahead = (): Promise<void> => {
    loading ??= load().then(
      (it) => {
        loaded = it;
      },
      (error: unknown) => {
        loading = null; // the next one who asks tries again
        throw error;
      },
    );
    return loading;
  };

  function Later(props: Props) {
    const [state, setState] = useState<'loading' | 'loaded' | 'failed'>(
      loaded ? 'loaded' : 'loading',
    );
    const ask = useCallback(() => {
      void ahead().then(
        () => setState('loaded'),
        () => setState('failed'),
      );
    }, []);
    useEffect(ask, [ask]);
    if (loaded) return createElement(loaded, props);
    if (state === 'loading') return meanwhile;
    return (
      <NotLoaded
        onRetry={() => {
          setState('loading');
          ask();
        }}
      />
    );
  }

  return Object.assign(Later, { ahead });
}

function NotLoaded({ onRetry }: { onRetry: () => void }) {
  const { problem, actions, state } = useMessages();
  return (
    <div role="alert">
      <Empty icon={Unplug} title={problem.title} text={state.notLoadedText}>
        <Button onClick={onRetry}>{actions.retry}</Button>
        <Button variant="quiet" onClick={() => location.reload()}>
          {state.reload}
        </Button>
      </Empty>
    </div>
  );
}
