import { QueryClientProvider, type QueryClient } from '@tanstack/react-query';
import type { ComponentProps, ReactNode } from 'react';

import { MessagesProvider } from '@/messages/messages';

import { Boundary } from './dead-ends';

interface ProvidersProps {
  client: QueryClient;
  spoken: ComponentProps<typeof MessagesProvider>['spoken'];
  children: ReactNode;
}

export function Providers({ client, spoken, children }: ProvidersProps) {
  return (
    <MessagesProvider spoken={spoken}>
      <QueryClientProvider client={client}>
        <Boundary>{children}</Boundary>
      </QueryClientProvider>
    </MessagesProvider>
  );
}
