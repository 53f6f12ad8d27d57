import { queryOptions, useSuspenseQuery } from '@tanstack/react-query';

import { answered, api } from '@/api/client';

export const settingsQuery = queryOptions({
  queryKey: ['settings'],
  queryFn: ({ signal }) => answered(api.GET('/admin/settings', { signal })),
  staleTime: Infinity,
});

/** How control is set; read before any page is shown. */
export const useSettings = () => useSuspenseQuery(settingsQuery).data;
