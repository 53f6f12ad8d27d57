import { useQuery } from '@tanstack/react-query';
import { Boxes, Pencil, Plus, SearchX, Trash2 } from 'lucide-react';
import { useState } from 'react';

import type { ModelMapping } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Button } from '@/components/ui/button';
import { Empty } from '@/components/ui/empty';
import { Checkbox } from '@/components/ui/field';
import { found } from '@/components/ui/found';
import { ListCard } from '@/components/ui/list-card';
import { Menu, MenuItem } from '@/components/ui/menu';
import { SearchField } from '@/components/ui/search';
import { Table } from '@/components/ui/table';
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
      found(`${mapping.claude_model} ${mapping.bedrock_model}`, filter),
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
      {(mappings) => <MappingTable mappings={mappings} onAsk={ask} />}
    </ListCard>
  );
}

interface MappingTableProps {
  mappings: ModelMapping[];
  onAsk: (asked: Asked) => void;
}

function MappingTable({ mappings, onAsk }: MappingTableProps) {
  const { models: says, actions } = useMessages();
  const formats = useFormats();
  return (
    <Table
      label={says.mappings}
      items={mappings}
      keyOf={({ id }) => id}
      columns={[
        {
          name: says.claudeModel,
          wraps: true,
          cell: ({ claude_model, is_active }) => (
            <>
              <span className="font-medium">{claude_model}</span>{' '}
              {!is_active && <Badge>{says.inactive}</Badge>}
            </>
          ),
        },
        {
          name: says.bedrockModel,
          wraps: true,
          className: 'font-mono text-xs',
          cell: ({ bedrock_model }) => bedrock_model,
        },
        {
          name: says.bedrockApi,
          cell: ({ bedrock_api }) =>
            bedrock_api ?? <span className="text-muted">{says.bedrockApiDefault}</span>,
        },
        { name: says.description, wraps: true, cell: ({ description }) => description },
        { name: says.updatedAt, cell: ({ updated_at }) => formats.date(updated_at) },
      ]}
      actions={{
        name: says.actionsOf(''),
        cell: (mapping) => (
          <Menu label={says.actionsOf(mapping.claude_model)}>
            <MenuItem onSelect={() => onAsk({ about: 'edit', mapping })}>
              <Pencil aria-hidden />
              {actions.edit}
            </MenuItem>
            <MenuItem danger onSelect={() => onAsk({ about: 'delete', mapping })}>
              <Trash2 aria-hidden />
              {actions.delete}…
            </MenuItem>
          </Menu>
        ),
      }}
    />
  );
}
