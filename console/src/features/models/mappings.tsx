import { useQuery } from '@tanstack/react-query';
import { Boxes, Pencil, Plus, SearchX, Trash2 } from 'lucide-react';
import { useState } from 'react';

import type { ModelMapping } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Button } from '@/components/ui/button';
import { Empty } from '@/components/ui/empty';
import { Checkbox } from '@/components/ui/field';
import { ListCard } from '@/components/ui/list-card';
import { Menu, MenuItem } from '@/components/ui/menu';
import { SearchField } from '@/components/ui/search';
import { ActionsCell, Cell, HeadCell, RowHead, Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { mappingsQuery } from './api';
import { DeleteMapping } from './delete-mapping';
import { AddMapping, EditMapping } from './mapping-form';

type Asked = { about: 'edit' | 'delete'; mapping: ModelMapping } | { about: 'add' };

/** Which Bedrock model answers for which model that is asked for. */
export function Mappings() {
  const { models: says } = useMessages();
  const query = useQuery(mappingsQuery);
  const [asked, ask] = useState<Asked | null>(null);
  const [filter, setFilter] = useState('');
  const [showsInactive, setShowsInactive] = useState(false);
  const shown = query.data?.filter(
    (mapping) =>
      (showsInactive || mapping.is_active) &&
      `${mapping.claude_model} ${mapping.bedrock_model}`.includes(filter.toLowerCase()),
  );
  const hasHidden = Boolean(query.data?.length);
  const close = () => ask(null);
  return (
    <ListCard
      title={says.mappings}
      text={says.mappingsText}
      aside={
        <>
          <SearchField label={says.filter} value={filter} onSearch={setFilter} />
          <Checkbox
            label={says.showInactive}
            checked={showsInactive}
            onChange={({ target }) => setShowsInactive(target.checked)}
          />
          <Button variant="primary" onClick={() => ask({ about: 'add' })}>
            <Plus aria-hidden />
            {says.add}
          </Button>
          {asked?.about === 'add' && <AddMapping onClose={close} />}
          {asked?.about === 'edit' && <EditMapping mapping={asked.mapping} onClose={close} />}
          {asked?.about === 'delete' && <DeleteMapping mapping={asked.mapping} onClose={close} />}
        </>
      }
      items={shown}
      error={query.error}
      onRetry={() => void query.refetch()}
      empty={
        hasHidden ? (
          <Empty icon={SearchX} title={says.noneFound} text={says.noneFoundText} />
        ) : (
          <Empty icon={Boxes} title={says.empty} text={says.emptyText} />
        )
      }
    >
      {(mappings) => (
        <Table
          label={says.mappings}
          head={
            <>
              <HeadCell>{says.claudeModel}</HeadCell>
              <HeadCell>{says.bedrockModel}</HeadCell>
              <HeadCell>{says.bedrockApi}</HeadCell>
              <HeadCell>{says.description}</HeadCell>
              <HeadCell>{says.updatedAt}</HeadCell>
              <HeadCell>
                <span className="sr-only">{says.actionsOf('')}</span>
              </HeadCell>
            </>
          }
        >
          {mappings.map((mapping) => (
            <MappingRow
              key={mapping.id}
              mapping={mapping}
              onAsk={(about) => ask({ about, mapping })}
            />
          ))}
        </Table>
      )}
    </ListCard>
  );
}

interface MappingRowProps {
  mapping: ModelMapping;
  onAsk: (about: 'edit' | 'delete') => void;
}

function MappingRow({ mapping, onAsk }: MappingRowProps) {
  const { models: says, actions } = useMessages();
  const formats = useFormats();
  return (
    <tr>
      <RowHead className="min-w-48 font-medium break-words">
        {mapping.claude_model} {!mapping.is_active && <Badge>{says.inactive}</Badge>}
      </RowHead>
      <Cell className="min-w-56 font-mono text-xs break-all">{mapping.bedrock_model}</Cell>
      <Cell className="whitespace-nowrap">
        {mapping.bedrock_api ?? <span className="text-muted">{says.bedrockApiDefault}</span>}
      </Cell>
      <Cell className="min-w-40">{mapping.description}</Cell>
      <Cell className="whitespace-nowrap">{formats.date(mapping.updated_at)}</Cell>
      <ActionsCell>
        <Menu label={says.actionsOf(mapping.claude_model)}>
          <MenuItem onSelect={() => onAsk('edit')}>
            <Pencil aria-hidden />
            {actions.edit}
          </MenuItem>
          <MenuItem danger onSelect={() => onAsk('delete')}>
            <Trash2 aria-hidden />
            {actions.delete}…
          </MenuItem>
        </Menu>
      </ActionsCell>
    </tr>
  );
}
