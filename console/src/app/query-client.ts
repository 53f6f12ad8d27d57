/** How data is fetched, kept and refreshed. */

import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query';

import { ApiError } from '@/api/client';
import { endSession } from '@/features/session/api';

export function createQueryClient(): QueryClient {
  const onError = (error: Error) => {
    if (error instanceof ApiError && error.status === 401 && error.code !== 'intercepted') {
      endSession(client);
    }
  };
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({ onError }),
    mutationCache: new MutationCache({
      onError,
      // Whatever was changed may show anywhere.
      onSuccess: () => void client.invalidateQueries(),
    }),
    defaultOptions: {
      // Whether there is a network beyond this machine does not matter.
      mutations: { networkMode: 'always' },
      queries: {
        networkMode: 'always',
        staleTime: 5_000,
        retry: (failures, error) =>
          failures < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 500),
      },
    },
  });
  return client;
}
