import { queryOptions, useMutation } from '@tanstack/react-query';

import { answered, api } from '@/api/client';

export const budgetQuery = (user_id: string) =>
  queryOptions({
    queryKey: ['budget', user_id],
    queryFn: ({ signal }) =>
      answered(api.GET('/admin/users/{user_id}/budget', { params: { path: { user_id } }, signal })),
    refetchInterval: 5_000,
  });

export function usePutBudget(user_id: string) {
  return useMutation({
    mutationFn: (monthly_budget_usd: string | null) =>
      answered(
        api.PUT('/admin/users/{user_id}/budget', {
          params: { path: { user_id } },
          body: { monthly_budget_usd },
        }),
      ),
  });
}
