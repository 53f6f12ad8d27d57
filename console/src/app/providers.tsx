import { QueryClientProvider } from '@tanstack/react-query';
import { Suspense, useState, type ComponentProps, type ReactNode } from 'react';

import { NoticesProvider } from '@/components/ui/notices';
import { MessagesProvider } from '@/messages/messages';

import { Boundary } from './dead-ends';
import { createQueryClient } from './query-client';

interface ProvidersProps {
  spoken: ComponentProps<typeof MessagesProvider>['spoken'];
  children: ReactNode;
}

export function Providers({ spoken, children }: ProvidersProps) {
  const [client] = useState(createQueryClient);
  return (
    <MessagesProvider spoken={spoken}>
      <QueryClientProvider client={client}>
        <NoticesProvider>
          <Boundary>
            <Suspense>{children}</Suspense>
          </Boundary>
        </NoticesProvider>
      </QueryClientProvider>
    </MessagesProvider>
  );
}
