import { queryOptions, useMutation } from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import type { RegisterBedrockKey } from '@/api/schema';

/** What is to be used for Bedrock; never what is stored, which nobody can read. */
export type Credential = Omit<RegisterBedrockKey, 'verify'>;

export const bedrockKeyQuery = (access_key_id: string) =>
  queryOptions({
    queryKey: ['bedrock-key', access_key_id],
    queryFn: ({ signal }) =>
      answered(
        api.GET('/admin/access-keys/{access_key_id}/bedrock-key', {
          params: { path: { access_key_id } },
          signal,
        }),
      ),
  });

export function useRegisterBedrockKey(access_key_id: string) {
  return useMutation({
    mutationFn: (body: Credential) =>
      answered(
        api.POST('/admin/access-keys/{access_key_id}/bedrock-key', {
          params: { path: { access_key_id } },
          body,
        }),
      ),
    // A secret is not kept longer than it takes to send it.
    gcTime: 0,
  });
}

export function useVerifyBedrockKey(access_key_id: string) {
  return useMutation({
    mutationFn: (body: Credential) =>
      answered(
        api.POST('/admin/access-keys/{access_key_id}/bedrock-key/verify', {
          params: { path: { access_key_id } },
          body,
        }),
      ),
    gcTime: 0,
  });
}

export function useDeleteBedrockKey(access_key_id: string) {
  return useMutation({
    mutationFn: () =>
      answered(
        api.DELETE('/admin/access-keys/{access_key_id}/bedrock-key', {
          params: { path: { access_key_id } },
        }),
      ),
  });
}
