import { useInfiniteQuery } from '@tanstack/react-query';
import { ScrollText, SearchX } from 'lucide-react';
import { useSearchParams } from 'react-router';

import type { AuditEntry } from '@/api/schema';
import { Button } from '@/components/ui/button';
import { Empty } from '@/components/ui/empty';
import { Field, Select } from '@/components/ui/field';
import { More } from '@/components/ui/more';
import { Page } from '@/components/ui/page';
import { Problem } from '@/components/ui/problem';
import { SearchField } from '@/components/ui/search';
import { Skeleton } from '@/components/ui/skeleton';
import { useMessages } from '@/messages/messages';

import { auditQuery } from './api';
import { Entries } from './entries';

type Kind = AuditEntry['object_kind'];

/** Who changed what, when, and from where. */
export function Audit() {
  const { audit: says, actions, pages } = useMessages();
  const [params, setParams] = useSearchParams();
  const search = params.get('search') ?? '';
  const user_id = params.get('user_id');
  const kind = Object.keys(says.kinds).find((it) => it === params.get('object_kind'));
  const query = useInfiniteQuery(
    auditQuery({
      limit: 50,
      ...(search && { search }),
      ...(user_id && { user_id }),
      ...(kind && { object_kind: kind as Kind }),
    }),
  );
  const entries = query.data?.pages.flatMap((page) => page.items);
  const isFiltered = search !== '' || user_id !== null || kind !== undefined;
  const set = (name: string, value: string) =>
    setParams((before) => {
      const next = new URLSearchParams(before);
      if (value) next.set(name, value);
      else next.delete(name);
      return next;
    });

  function list() {
    if (!entries) {
      return query.error ? (
        <Problem error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Skeleton className="m-5 h-96" />
      );
    }
    if (entries.length === 0) {
      return isFiltered ? (
        <Empty icon={SearchX} title={says.noneFound} text={says.noneFoundText}>
          <Button onClick={() => setParams({})}>{actions.clear}</Button>
        </Empty>
      ) : (
        <Empty icon={ScrollText} title={says.empty} text={says.emptyText} />
      );
    }
    return (
      <>
        <Entries entries={entries} />
        <More query={query} label={pages.older} />
      </>
    );
  }

  return (
    <Page title={says.title} text={says.text}>
      <div className="flex flex-wrap items-center gap-2">
        <SearchField label={says.search} value={search} onSearch={(text) => set('search', text)} />
        <Field label={says.kind} hideLabel className="w-48">
          <Select value={kind ?? ''} onChange={({ target }) => set('object_kind', target.value)}>
            <option value="">{says.allKinds}</option>
            {Object.entries(says.kinds).map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </Select>
        </Field>
        {isFiltered && (
          <Button variant="quiet" onClick={() => setParams({})}>
            {actions.clear}
          </Button>
        )}
      </div>
      <div className="rounded-xl border border-line bg-surface shadow-card">{list()}</div>
    </Page>
  );
}
