import { keepPreviousData, queryOptions, useMutation } from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import type { ChangeUser, CreateUser, operations } from '@/api/schema';

export type UsersQuery = NonNullable<operations['list_users']['parameters']['query']>;

export const usersQuery = (query: UsersQuery) =>
  queryOptions({
    queryKey: ['users', query],
    queryFn: ({ signal }) => answered(api.GET('/admin/users', { params: { query }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  });

export const userQuery = (user_id: string) =>
  queryOptions({
    queryKey: ['user', user_id],
    queryFn: ({ signal }) =>
      answered(api.GET('/admin/users/{user_id}', { params: { path: { user_id } }, signal })),
    refetchInterval: 15_000,
  });

export function useCreateUser() {
  return useMutation({
    mutationFn: (body: CreateUser) => answered(api.POST('/admin/users', { body })),
  });
}

export function useChangeUser(user_id: string) {
  return useMutation({
    mutationFn: (body: ChangeUser) =>
      answered(api.PATCH('/admin/users/{user_id}', { params: { path: { user_id } }, body })),
  });
}

export function useDeactivateUser(user_id: string) {
  return useMutation({
    mutationFn: () =>
      answered(api.POST('/admin/users/{user_id}/deactivate', { params: { path: { user_id } } })),
  });
}

export function useReactivateUser(user_id: string) {
  return useMutation({
    mutationFn: () =>
      answered(api.POST('/admin/users/{user_id}/reactivate', { params: { path: { user_id } } })),
  });
}

export function useDeleteUser(user_id: string) {
  return useMutation({
    mutationFn: () =>
      answered(api.DELETE('/admin/users/{user_id}', { params: { path: { user_id } } })),
  });
}
