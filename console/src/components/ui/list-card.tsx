import type { ReactNode } from 'react';

import { Card } from './card';
import { Problem } from './problem';
import { Skeleton } from './skeleton';

interface ListCardProps<Item> {
  title: string;
  text?: string;
  aside?: ReactNode;
  /** None yet: it is being loaded, or could not be. */
  items: Item[] | undefined;
  error: unknown;
  onRetry: () => void;
  /** In place of an empty list. */
  empty: ReactNode;
  children: (items: Item[]) => ReactNode;
}

/** A list in a card, in all the states that it can be in. */
export function ListCard<Item>(props: ListCardProps<Item>) {
  const { title, text, aside, items, error, onRetry, empty, children } = props;
  return (
    <Card flush title={title} text={text} aside={aside}>
      {items ? (
        items.length > 0 ? (
          children(items)
        ) : (
          empty
        )
      ) : error ? (
        <Problem error={error} onRetry={onRetry} />
      ) : (
        <Skeleton className="mx-4 mb-4 h-40 sm:mx-5" />
      )}
    </Card>
  );
}
