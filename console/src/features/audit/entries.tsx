import { ChevronDown, ChevronRight } from 'lucide-react';
import { useState } from 'react';
import { Link } from 'react-router';

import type { AuditEntry } from '@/api/schema';
import { Button } from '@/components/ui/button';
import { ActionsCell, Cell, HeadCell, RowHead, Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { changes } from './changes';

/** Entries of the audit log; each opens to what it changed. */
export function Entries({ entries }: { entries: AuditEntry[] }) {
  const { audit: says } = useMessages();
  return (
    <Table
      label={says.title}
      head={
        <>
          <HeadCell>{says.at}</HeadCell>
          <HeadCell>{says.actor}</HeadCell>
          <HeadCell>{says.action}</HeadCell>
          <HeadCell>{says.object}</HeadCell>
          <HeadCell>{says.address}</HeadCell>
          <HeadCell>
            <span className="sr-only">{says.changes}</span>
          </HeadCell>
        </>
      }
    >
      {entries.map((entry) => (
        <Entry key={entry.id} entry={entry} />
      ))}
    </Table>
  );
}

function Entry({ entry }: { entry: AuditEntry }) {
  const { audit: says, state } = useMessages();
  const formats = useFormats();
  const [isOpen, setOpen] = useState(false);
  const id = `changes-${entry.id}`;
  const Arrow = isOpen ? ChevronDown : ChevronRight;
  return (
    <>
      <tr>
        <RowHead className="tabular-nums max-md:min-w-32 md:whitespace-nowrap">
          {formats.exactTime(entry.at)}
        </RowHead>
        <Cell className="max-w-40 truncate">{entry.actor}</Cell>
        <Cell>
          <span className="whitespace-nowrap">{says.actions[entry.action]}</span>
        </Cell>
        <Cell className="min-w-40">
          <span className="block max-w-72 truncate">
            {entry.user_id ? (
              <Link to={`/users/${entry.user_id}`} className="hover:underline">
                {entry.object_name}
              </Link>
            ) : (
              entry.object_name
            )}
          </span>
          <span className="text-xs text-muted">{says.kinds[entry.object_kind]}</span>
        </Cell>
        <Cell className="whitespace-nowrap tabular-nums">{entry.address ?? state.none}</Cell>
        <ActionsCell>
          <Button
            variant="quiet"
            size="smallIcon"
            aria-expanded={isOpen}
            aria-controls={id}
            aria-label={says.show(says.actions[entry.action])}
            onClick={() => setOpen(!isOpen)}
          >
            <Arrow />
          </Button>
        </ActionsCell>
      </tr>
      {isOpen && (
        <tr id={id} className="bg-sunken/50">
          <td colSpan={6} className="px-4 pb-3 sm:px-5">
            <Changes entry={entry} />
          </td>
        </tr>
      )}
    </>
  );
}

function Changes({ entry }: { entry: AuditEntry }) {
  const { audit: says } = useMessages();
  const list = changes(entry.before, entry.after);
  if (list.length === 0) return <p className="pt-3 text-muted">{says.noDetails}</p>;
  return (
    <table className="w-full text-xs">
      <thead className="text-left text-muted">
        <tr>
          <th className="w-48 py-2 pr-4 font-medium">{says.field}</th>
          <th className="py-2 pr-4 font-medium">{says.before}</th>
          <th className="py-2 font-medium">{says.after}</th>
        </tr>
      </thead>
      <tbody className="align-top font-mono">
        {list.map(({ field, before, after }) => (
          <tr key={field}>
            <th scope="row" className="py-0.5 pr-4 text-left font-normal">
              {field}
            </th>
            <Value value={before} />
            <Value value={after} />
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Value({ value }: { value: unknown }) {
  const { audit: says } = useMessages();
  return (
    <td className="py-0.5 pr-4 break-all">
      {value === null ? (
        <span className="font-sans text-muted">{says.absent}</span>
      ) : typeof value === 'string' ? (
        value
      ) : (
        JSON.stringify(value)
      )}
    </td>
  );
}
