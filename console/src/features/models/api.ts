import { queryOptions, useMutation } from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import type { ChangeModelMapping, CreateModelMapping } from '@/api/schema';

export const mappingsQuery = queryOptions({
  queryKey: ['model-mappings'],
  queryFn: ({ signal }) =>
    answered(
      api.GET('/admin/models/mappings', { params: { query: { include_inactive: true } }, signal }),
    ),
  select: ({ items }) => items,
});

export const capabilitiesQuery = queryOptions({
  queryKey: ['model-capabilities'],
  queryFn: ({ signal }) => answered(api.GET('/admin/models/capabilities', { signal })),
  select: ({ items }) => items,
  refetchInterval: 15_000,
});

export function useCreateMapping() {
  return useMutation({
    mutationFn: (body: CreateModelMapping) =>
      answered(api.POST('/admin/models/mappings', { body })),
  });
}

export function useChangeMapping(model_mapping_id: string) {
  return useMutation({
    mutationFn: (body: ChangeModelMapping) =>
      answered(
        api.PUT('/admin/models/mappings/{model_mapping_id}', {
          params: { path: { model_mapping_id } },
          body,
        }),
      ),
  });
}

export function useDeleteMapping(model_mapping_id: string) {
  return useMutation({
    mutationFn: () =>
      answered(
        api.DELETE('/admin/models/mappings/{model_mapping_id}', {
          params: { path: { model_mapping_id } },
        }),
      ),
  });
}

export function useForgetCapability() {
  return useMutation({
    mutationFn: (model_capability_id: string) =>
      answered(
        api.DELETE('/admin/models/capabilities/{model_capability_id}', {
          params: { path: { model_capability_id } },
        }),
      ),
  });
}

/** What is built in stays. */
export function useForgetLearned() {
  return useMutation({
    mutationFn: () =>
      answered(
        api.DELETE('/admin/models/capabilities', { params: { query: { source: 'learned' } } }),
      ),
  });
}
