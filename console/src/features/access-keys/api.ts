import { queryOptions, useMutation } from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import type { ChangeAccessKey, IssueAccessKey, IssuedAccessKey } from '@/api/schema';

export const accessKeysQuery = (user_id: string) =>
  queryOptions({
    queryKey: ['access-keys', user_id],
    queryFn: ({ signal }) =>
      answered(
        api.GET('/admin/users/{user_id}/access-keys', { params: { path: { user_id } }, signal }),
      ),
    select: ({ items }) => items,
    refetchInterval: 5_000,
  });

/** `onIssued` is called even when nobody waits for it any more: the key is told only once. */
export function useIssueAccessKey(user_id: string, onIssued: (issued: IssuedAccessKey) => void) {
  return useMutation({
    mutationFn: (body: IssueAccessKey) =>
      answered(
        api.POST('/admin/users/{user_id}/access-keys', { params: { path: { user_id } }, body }),
      ),
    onSuccess: onIssued,
    // The key itself is not kept where nobody looks at it.
    gcTime: 0,
  });
}

export function useChangeAccessKey(access_key_id: string) {
  return useMutation({
    mutationFn: (body: ChangeAccessKey) =>
      answered(
        api.PATCH('/admin/access-keys/{access_key_id}', {
          params: { path: { access_key_id } },
          body,
        }),
      ),
  });
}

export function useRotateAccessKey(
  access_key_id: string,
  onIssued: (issued: IssuedAccessKey) => void,
) {
  return useMutation({
    mutationFn: (grace_seconds: number) =>
      answered(
        api.POST('/admin/access-keys/{access_key_id}/rotate', {
          params: { path: { access_key_id } },
          body: { grace_seconds },
        }),
      ),
    onSuccess: onIssued,
    gcTime: 0,
  });
}

export function useRevokeAccessKey(access_key_id: string) {
  return useMutation({
    mutationFn: () =>
      answered(
        api.DELETE('/admin/access-keys/{access_key_id}', { params: { path: { access_key_id } } }),
      ),
  });
}

export function useResetCircuit(access_key_id: string) {
  return useMutation({
    mutationFn: () =>
      answered(
        api.POST('/admin/access-keys/{access_key_id}/circuit/reset', {
          params: { path: { access_key_id } },
        }),
      ),
  });
}
