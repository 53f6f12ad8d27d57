import { useMutation } from '@tanstack/react-query';

import { answered, api } from '@/api/client';
import type { RoutingStrategy } from '@/api/schema';

export function useRouteUser(user_id: string) {
  return useMutation({
    mutationFn: (routing_strategy: RoutingStrategy) =>
      answered(
        api.PUT('/admin/users/{user_id}/routing-strategy', {
          params: { path: { user_id } },
          body: { routing_strategy },
        }),
      ),
  });
}
