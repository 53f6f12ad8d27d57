import { keepPreviousData, queryOptions, useMutation } from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import type { ChangeUser, operations } from '@/api/schema';

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

export interface NewUser {
  name: string;
  description: string | null;
  /** None: no limit. */
  monthly_budget_usd: string | null;
}

/** With a budget, if there is to be one. */
export function useCreateUser() {
  return useMutation({
    mutationFn: async ({ name, description, monthly_budget_usd }: NewUser) => {
      const user = await answered(api.POST('/admin/users', { body: { name, description } }));
      if (monthly_budget_usd) {
        await answered(
          api.PUT('/admin/users/{user_id}/budget', {
            params: { path: { user_id: user.id } },
            body: { monthly_budget_usd },
          }),
        );
      }
      return user;
    },
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
