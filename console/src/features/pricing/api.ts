import { queryOptions, useMutation } from '@tanstack/react-query';

import { answered, api } from '@/api/client';

export const pricesQuery = queryOptions({
  queryKey: ['prices'],
  queryFn: ({ signal }) => answered(api.GET('/api/pricing/models', { signal })),
});

export function useReloadPrices() {
  return useMutation({
    mutationFn: () => answered(api.POST('/api/pricing/reload')),
  });
}
