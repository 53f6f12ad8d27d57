import { useMemo } from 'react';
import { useSearchParams } from 'react-router';

import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';

import { asked, readFilters, withFilters, type Filters } from './filters';

/** The filters in the address, what they ask for, and a way to change them. */
export function useFilters() {
  const [search, setSearch] = useSearchParams();
  const { zone } = useFormats();
  const now = useNow();
  const filters = useMemo(() => readFilters(search), [search]);
  const change = (changed: Partial<Filters>) => setSearch(withFilters(search, changed));
  return { filters, asked: asked(filters, now, zone), change };
}
