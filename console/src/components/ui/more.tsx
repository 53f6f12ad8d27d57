import type { UseInfiniteQueryResult } from '@tanstack/react-query';

import { Button } from './button';

type Pages = Pick<UseInfiniteQueryResult, 'hasNextPage' | 'isFetchingNextPage' | 'fetchNextPage'>;

interface MoreProps {
  query: Pages;
  /** What comes next: older entries, for instance. */
  label: string;
}

/** Below a long list: the next page, as long as there is one. */
export function More({ query, label }: MoreProps) {
  if (!query.hasNextPage) return null;
  return (
    <div className="px-5 py-3 text-center">
      <Button
        size="small"
        disabled={query.isFetchingNextPage}
        onClick={() => void query.fetchNextPage()}
      >
        {label}
      </Button>
    </div>
  );
}
