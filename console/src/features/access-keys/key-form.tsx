import { useState, type FormEvent } from 'react';

import type { AccessKey } from '@/api/schema';
import { RegionInput } from '@/components/region-input';
import { Dialog } from '@/components/ui/dialog';
import { Field, Input, Select } from '@/components/ui/field';
import { FormActions } from '@/components/ui/form-actions';
import { useAskBeforeLeaving } from '@/components/ui/kept';
import { changed, written } from '@/components/ui/written';
import { useSettings } from '@/features/settings/api';
import { timeNow } from '@/formats/clock';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { dayOf } from '@/formats/zone';
import { useMessages } from '@/messages/messages';

import { choiceOf, EXPIRIES, expiresAt, isSameChoice, type Expiry } from './expiry';

/** What can be said of a key when it is issued, and changed later. */
export type KeySettings = Pick<AccessKey, 'name' | 'expires_at' | 'model' | 'bedrock_region'>;

interface KeyFormProps {
  title: string;
  text?: string;
  /** What is said of it so far. */
  settings?: KeySettings;
  /** Models that Claude Code can be told to use. */
  models: string[];
  submit: string;
  pending: boolean;
  error: unknown;
  /** With those that were filled in anew. */
  onSubmit: (settings: Partial<KeySettings>) => void;
  onClose: () => void;
}

export function KeyForm(props: KeyFormProps) {
  const { title, text, submit, pending, error, onSubmit, onClose } = props;
  const { keys: says } = useMessages();
  const { zone } = useFormats();
  const { bedrock_region } = useSettings();
  // It is read again while somebody writes.
  const [settings] = useState(props.settings);
  const [before] = useState(() => choiceOf(settings?.expires_at ?? null, zone));
  const [expiry, setExpiry] = useState(before.expiry);
  const chosen = settings?.model ?? null;
  const shown = {
    name: settings?.name ?? null,
    model: chosen,
    bedrock_region: settings?.bedrock_region ?? null,
  };
  const models =
    chosen && !props.models.includes(chosen) ? [chosen, ...props.models] : props.models;

  useAskBeforeLeaving(pending);

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (field: string) => written(form, field).trim() || null;
    const choice = { expiry, lastDay: written(form, 'last_day') };
    onSubmit({
      ...changed(shown, {
        name: text('name'),
        model: text('model'),
        bedrock_region: text('bedrock_region'),
      }),
      ...(!isSameChoice(before, choice) && { expires_at: expiresAt(choice, timeNow(), zone) }),
    });
  }

  return (
    <Dialog title={title} text={text} dismissible={!pending} onClose={onClose}>
      <form onSubmit={send} className="space-y-4">
        <Field label={says.name} hint={says.nameHint}>
          <Input name="name" defaultValue={shown.name ?? ''} maxLength={255} autoComplete="off" />
        </Field>
        <ExpiryFields expiry={expiry} lastDay={before.lastDay} onChange={setExpiry} />
        <Field label={says.model} hint={says.modelHint}>
          <Select name="model" defaultValue={chosen ?? ''}>
            <option value="">{says.modelDefault}</option>
            {models.map((model) => (
              <option key={model}>{model}</option>
            ))}
          </Select>
        </Field>
        <Field label={says.region} hint={says.regionHint}>
          <RegionInput
            name="bedrock_region"
            defaultValue={shown.bedrock_region ?? ''}
            placeholder={bedrock_region}
          />
        </Field>
        <FormActions error={error} submit={submit} pending={pending} onCancel={onClose} />
      </form>
    </Dialog>
  );
}

interface ExpiryFieldsProps {
  expiry: Expiry;
  /** Its last day so far, if there is one. */
  lastDay: string;
  onChange: (expiry: Expiry) => void;
}

function ExpiryFields({ expiry, lastDay, onChange }: ExpiryFieldsProps) {
  const { keys: says } = useMessages();
  const { zone } = useFormats();
  const now = useNow();
  const [today, tomorrow] = [dayOf(now, zone), dayOf(now, zone, 1)];
  const names: Record<Expiry, string> = {
    never: says.expiryNever,
    '30': says.expiryDays(30),
    '90': says.expiryDays(90),
    '365': says.expiryDays(365),
    custom: says.expiryCustom,
  };
  return (
    <div className="grid gap-4 xs:grid-cols-2">
      <Field label={says.expiry}>
        <Select value={expiry} onChange={({ target }) => onChange(target.value as Expiry)}>
          {EXPIRIES.map((value) => (
            <option key={value} value={value}>
              {names[value]}
            </option>
          ))}
        </Select>
      </Field>
      {expiry === 'custom' && (
        <Field label={says.expiryDate}>
          <Input
            type="date"
            name="last_day"
            defaultValue={lastDay || tomorrow}
            // A key that has expired already can be changed in something else.
            min={lastDay && lastDay < today ? lastDay : today}
            required
          />
        </Field>
      )}
    </div>
  );
}
