import type { UseInfiniteQueryResult } from '@tanstack/react-query';

import { useMessages } from '@/messages/messages';

import { Button } from './button';

type Pages = Pick<UseInfiniteQueryResult, 'hasNextPage' | 'isFetchingNextPage' | 'fetchNextPage'>;

/** Below a list that begins with the newest: the next page, as long as there is one. */
export function Older({ query }: { query: Pages }) {
  const { pages } = useMessages();
  if (!query.hasNextPage) return null;
  return (
    <div className="px-5 py-3 text-center">
      <Button
        size="small"
        disabled={query.isFetchingNextPage}
        onClick={() => void query.fetchNextPage()}
      >
        {pages.older}
      </Button>
    </div>
  );
}
