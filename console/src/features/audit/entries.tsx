import { ChevronDown, ChevronRight } from 'lucide-react';
import { useState } from 'react';
import { Link } from 'react-router';

import type { AuditEntry } from '@/api/schema';
import { Button } from '@/components/ui/button';
import { Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { changes } from './changes';

/** Entries of the audit log; each opens to what it changed. */
export function Entries({ entries }: { entries: AuditEntry[] }) {
  const { audit: says, state } = useMessages();
  const formats = useFormats();
  const [open, setOpen] = useState<ReadonlySet<AuditEntry['id']>>(new Set());
  const toggle = (id: AuditEntry['id']) =>
    setOpen((before) => {
      const next = new Set(before);
      if (!next.delete(id)) next.add(id);
      return next;
    });
  return (
    <Table
      label={says.title}
      items={entries}
      keyOf={({ id }) => String(id)}
      columns={[
        {
          name: says.at,
          className: 'tabular-nums',
          cell: ({ at }) => formats.exactTime(at),
        },
        { name: says.actor, wraps: true, cell: ({ actor }) => actor },
        { name: says.action, cell: ({ action }) => says.actions[action] },
        { name: says.object, wraps: true, cell: (entry) => <ChangedObject entry={entry} /> },
        {
          name: says.address,
          className: 'tabular-nums',
          cell: ({ address }) => address ?? state.none,
        },
      ]}
      actions={{
        name: says.changes,
        cell: ({ id, action }) => {
          const isOpen = open.has(id);
          return (
            <Button
              variant="quiet"
              size="smallIcon"
              aria-expanded={isOpen}
              aria-controls={isOpen ? changesId(id) : undefined}
              aria-label={says.show(says.actions[action])}
              onClick={() => toggle(id)}
            >
              {isOpen ? <ChevronDown /> : <ChevronRight />}
            </Button>
          );
        },
      }}
      below={(entry) => open.has(entry.id) && <Changes entry={entry} />}
    />
  );
}

const changesId = (id: AuditEntry['id']) => `changes-${id}`;

function ChangedObject({ entry }: { entry: AuditEntry }) {
  const { audit: says } = useMessages();
  const { user_id, object_name, object_kind } = entry;
  return (
    <>
      <span className="block">
        {user_id ? (
          <Link to={`/users/${user_id}`} className="hover:underline">
            {object_name}
          </Link>
        ) : (
          object_name
        )}
      </span>
      <span className="text-xs text-muted">{says.kinds[object_kind]}</span>
    </>
  );
}

function Changes({ entry }: { entry: AuditEntry }) {
  const { audit: says } = useMessages();
  const list = changes(entry.before, entry.after);
  return (
    <div id={changesId(entry.id)} className="text-xs">
      {list.length === 0 ? (
        <p className="px-4 py-3 text-muted sm:px-5">{says.noDetails}</p>
      ) : (
        <Table
          label={says.changes}
          items={list}
          keyOf={({ field }) => field}
          columns={[
            {
              name: says.field,
              wraps: true,
              cell: ({ field }) => <span className="font-mono">{field}</span>,
            },
            {
              name: says.before,
              wraps: true,
              cell: ({ before }) => <Value value={before} />,
            },
            { name: says.after, wraps: true, cell: ({ after }) => <Value value={after} /> },
          ]}
        />
      )}
    </div>
  );
}

function Value({ value }: { value: unknown }) {
  const { audit: says } = useMessages();
  if (value === null) return <span className="text-muted">{says.absent}</span>;
  return (
    <span className="font-mono">{typeof value === 'string' ? value : JSON.stringify(value)}</span>
  );
}
