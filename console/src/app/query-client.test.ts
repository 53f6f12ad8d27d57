// @vitest-environment jsdom
import { expect, test } from 'vitest';

import { ApiError } from '@/api/client';
import { sessionQuery } from '@/features/session/api';

import { createQueryClient } from './query-client';

const someone = { username: 'admin', expires_at: '2026-11-28T12:00:00Z' };

/** What is known of the session after a request is answered with a status. */
async function after(session: typeof someone | null, status: number) {
  const client = createQueryClient();
  client.setQueryData(sessionQuery.queryKey, session);
  const refused = () => Promise.reject(new ApiError('session_expired', status, 'Sign in.'));
  const request = client.fetchQuery({ queryKey: ['users'], queryFn: refused, retry: false });
  await expect(request).rejects.toThrow('Sign in.');
  return client.getQueryData(sessionQuery.queryKey);
}

test('a session ends when control refuses it', async () => {
  expect(await after(someone, 401)).toBe('ended');
  expect(await after(someone, 409)).toEqual(someone);
});

test('no session ends for who has signed out', async () => {
  expect(await after(null, 401)).toBeNull();
});
