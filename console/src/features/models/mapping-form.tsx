import type { FormEvent } from 'react';

import type { BedrockApi, ModelMapping } from '@/api/schema';
import { Dialog } from '@/components/ui/dialog';
import { Checkbox, Field, Input, Select } from '@/components/ui/field';
import { FormActions } from '@/components/ui/form-actions';
import { useNotify } from '@/components/ui/notices';
import { written } from '@/components/ui/written';
import { useMessages } from '@/messages/messages';

import { useChangeMapping, useCreateMapping } from './api';

const APIS: BedrockApi[] = ['invoke', 'messages', 'converse'];

interface Written {
  claude_model: string;
  bedrock_model: string;
  bedrock_api: BedrockApi | null;
  description: string | null;
  is_active: boolean;
}

export function AddMapping({ onClose }: { onClose: () => void }) {
  const { models: says } = useMessages();
  const create = useCreateMapping();
  const saved = useSaved(onClose);
  return (
    <MappingForm
      title={says.addTitle}
      pending={create.isPending}
      error={create.error}
      onSubmit={(mapping) => create.mutate(mapping, saved)}
      onClose={onClose}
    />
  );
}

export function EditMapping({ mapping, onClose }: { mapping: ModelMapping; onClose: () => void }) {
  const { models: says } = useMessages();
  const change = useChangeMapping(mapping.id);
  const saved = useSaved(onClose);
  return (
    <MappingForm
      title={says.editTitle(mapping.claude_model)}
      mapping={mapping}
      pending={change.isPending}
      error={change.error}
      onSubmit={({ claude_model: _, ...changed }) => change.mutate(changed, saved)}
      onClose={onClose}
    />
  );
}

function useSaved(onClose: () => void) {
  const { models: says } = useMessages();
  const notify = useNotify();
  return {
    onSuccess: () => {
      notify(says.saved);
      onClose();
    },
  };
}

interface MappingFormProps {
  title: string;
  mapping?: ModelMapping;
  pending: boolean;
  error: unknown;
  onSubmit: (mapping: Written) => void;
  onClose: () => void;
}

function MappingForm({ title, mapping, pending, error, onSubmit, onClose }: MappingFormProps) {
  const { models: says, actions } = useMessages();

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (field: string) => written(form, field).trim();
    onSubmit({
      claude_model: text('claude_model'),
      bedrock_model: text('bedrock_model'),
      bedrock_api: APIS.find((it) => it === text('bedrock_api')) ?? null,
      description: text('description') || null,
      is_active: form.has('is_active'),
    });
  }

  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={send} className="space-y-4">
        {!mapping && (
          <Field label={says.claudeModel} hint={says.claudeModelHint}>
            <Input name="claude_model" required maxLength={256} spellCheck={false} />
          </Field>
        )}
        <Field label={says.bedrockModel} hint={says.bedrockModelHint}>
          <Input
            name="bedrock_model"
            defaultValue={mapping?.bedrock_model}
            required
            maxLength={2048}
            spellCheck={false}
          />
        </Field>
        <Field label={says.bedrockApi}>
          <Select name="bedrock_api" defaultValue={mapping?.bedrock_api ?? ''}>
            <option value="">{says.bedrockApiDefault}</option>
            {APIS.map((it) => (
              <option key={it}>{it}</option>
            ))}
          </Select>
        </Field>
        <Field label={says.description}>
          <Input name="description" defaultValue={mapping?.description ?? ''} />
        </Field>
        <Checkbox
          name="is_active"
          label={says.isActive}
          defaultChecked={mapping?.is_active ?? true}
        />
        <FormActions
          error={error}
          submit={pending ? actions.saving : says.submit}
          disabled={pending}
          onCancel={onClose}
        />
      </form>
    </Dialog>
  );
}
