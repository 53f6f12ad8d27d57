import { queryOptions, useMutation, useQueryClient, type QueryClient } from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import type { ConsoleSession } from '@/api/schema';

/** Null: nobody is signed in. `ended`: somebody was, until control refused the session. */
type Session = ConsoleSession | 'ended' | null;

export const isSignedIn = (session: Session | undefined): session is ConsoleSession =>
  typeof session === 'object' && session !== null;

/** After control has refused a request; whoever has signed out need not be told. */
export function endSession(client: QueryClient) {
  client.setQueryData(sessionQuery.queryKey, (session) => session && 'ended');
}

export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: async ({ signal }): Promise<Session> =>
    (await answered(api.GET('/admin/session', { signal }))) ?? null,
  staleTime: Infinity,
});

/** HTTP Basic, for names and passwords in any script. */
function basic(username: string, password: string): string {
  const bytes = new TextEncoder().encode(`${username}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

export function useSignIn() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ username, password }: { username: string; password: string }) =>
      answered(
        api.POST('/admin/session', { headers: { authorization: basic(username, password) } }),
      ),
    onSuccess: (session) => client.setQueryData(sessionQuery.queryKey, session),
    // A password is not kept longer than it takes to send it.
    gcTime: 0,
  });
}

export function useSignOut() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => answered(api.DELETE('/admin/session')),
    onSuccess: () => {
      client.setQueryData(sessionQuery.queryKey, null);
      client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== 'session' });
    },
  });
}
