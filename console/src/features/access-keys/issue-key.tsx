import { useState, type FormEvent } from 'react';

import type { IssuedAccessKey, User } from '@/api/schema';
import { Button } from '@/components/ui/button';
import { Dialog, DialogActions } from '@/components/ui/dialog';
import { Field, Input, Select } from '@/components/ui/field';
import { ProblemNote } from '@/components/ui/problem';
import { RegionInput } from '@/components/region-input';
import { written } from '@/components/ui/written';
import { useSettings } from '@/features/settings/api';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { dayOf } from '@/formats/zone';
import { useMessages } from '@/messages/messages';

import { useIssueAccessKey } from './api';
import { EXPIRIES, expiresAt, type Expiry } from './expiry';

interface IssueKeyProps {
  user: User;
  /** Models that Claude Code can be told to use. */
  models: string[];
  onIssued: (issued: IssuedAccessKey) => void;
  onClose: () => void;
}

export function IssueKey({ user, models, onIssued, onClose }: IssueKeyProps) {
  const { keys: says, actions } = useMessages();
  const { zone } = useFormats();
  const { bedrock_region } = useSettings();
  const now = useNow();
  const issue = useIssueAccessKey(user.id);
  const [expiry, setExpiry] = useState<Expiry>('never');
  const tomorrow = dayOf(now, zone, 1);
  const names: Record<Expiry, string> = {
    never: says.expiryNever,
    '30': says.expiryDays(30),
    '90': says.expiryDays(90),
    '365': says.expiryDays(365),
    custom: says.expiryCustom,
  };

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    issue.mutate(
      {
        name: written(form, 'name').trim() || null,
        expires_at: expiresAt(expiry, written(form, 'last_day'), new Date(), zone),
        model: written(form, 'model') || null,
        bedrock_region: written(form, 'bedrock_region').trim() || null,
      },
      { onSuccess: onIssued },
    );
  }

  return (
    <Dialog title={says.issueTitle(user.name)} text={says.issueText} onClose={onClose}>
      <form onSubmit={send} className="space-y-4">
        <Field label={says.name} hint={says.nameHint}>
          <Input name="name" maxLength={255} autoComplete="off" />
        </Field>
        <div className="grid gap-4 xs:grid-cols-2">
          <Field label={says.expiry}>
            <Select value={expiry} onChange={({ target }) => setExpiry(target.value as Expiry)}>
              {EXPIRIES.map((value) => (
                <option key={value} value={value}>
                  {names[value]}
                </option>
              ))}
            </Select>
          </Field>
          {expiry === 'custom' && (
            <Field label={says.expiryDate}>
              <Input type="date" name="last_day" min={tomorrow} defaultValue={tomorrow} required />
            </Field>
          )}
        </div>
        <Field label={says.model} hint={says.modelHint}>
          <Select name="model">
            <option value="">{says.modelDefault}</option>
            {models.map((model) => (
              <option key={model}>{model}</option>
            ))}
          </Select>
        </Field>
        <Field label={says.region} hint={says.regionHint}>
          <RegionInput name="bedrock_region" placeholder={bedrock_region} />
        </Field>
        <ProblemNote error={issue.error} />
        <DialogActions>
          <Button onClick={onClose}>{actions.cancel}</Button>
          <Button type="submit" variant="primary" disabled={issue.isPending}>
            {issue.isPending ? says.issuing : says.issueSubmit}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
