import { useState, type FormEvent, type MouseEvent } from 'react';

import type { BedrockKeyKind } from '@/api/schema';
import { RegionInput } from '@/components/region-input';
import { Button } from '@/components/ui/button';
import { DialogActions } from '@/components/ui/dialog';
import { Field, Input } from '@/components/ui/field';
import { ProblemNote } from '@/components/ui/problem';
import { Segmented } from '@/components/ui/segmented';
import { written } from '@/components/ui/written';
import { useMessages } from '@/messages/messages';

import { useRegisterBedrockKey, useVerifyBedrockKey, type Credential } from './api';

interface CredentialFormProps {
  access_key_id: string;
  isReplacing: boolean;
  /** Where it is used, unless something else is typed. */
  region: string;
  onDone: () => void;
}

const SECRET = {
  type: 'password',
  autoComplete: 'off',
  spellCheck: false,
  required: true,
} as const;

/** Takes a credential, tests it when asked to, and registers it. */
export function CredentialForm({
  access_key_id,
  isReplacing,
  region,
  onDone,
}: CredentialFormProps) {
  const { credential: says } = useMessages();
  const [kind, setKind] = useState<BedrockKeyKind>('api_key');
  const register = useRegisterBedrockKey(access_key_id);
  const verify = useVerifyBedrockKey(access_key_id);
  const isPending = register.isPending || verify.isPending;

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const credential = take(event.currentTarget);
    register.mutate(credential, { onSuccess: onDone });
  }

  /** Is no way to send the form: Enter takes the first of those. */
  function test({ currentTarget: { form } }: MouseEvent<HTMLButtonElement>) {
    if (form?.reportValidity()) verify.mutate(take(form));
  }

  function take(form: HTMLFormElement): Credential {
    register.reset();
    verify.reset();
    return read(new FormData(form));
  }

  return (
    <form onSubmit={send} className="space-y-4">
      {isReplacing && <p className="font-medium">{says.replaceHint}</p>}
      <Segmented
        label={says.kind}
        value={kind}
        options={[
          { value: 'api_key', label: says.kinds.api_key },
          { value: 'key_pair', label: says.kinds.key_pair },
        ]}
        onChange={setKind}
      />
      {kind === 'api_key' ? (
        <Field label={says.apiKey}>
          <Input key="api_key" name="bedrock_api_key" {...SECRET} />
        </Field>
      ) : (
        <>
          <Field label={says.accessKeyId}>
            <Input name="aws_access_key_id" autoComplete="off" spellCheck={false} required />
          </Field>
          <Field label={says.secretAccessKey}>
            <Input name="aws_secret_access_key" {...SECRET} />
          </Field>
          <Field label={says.sessionToken} hint={says.sessionTokenHint}>
            <Input name="aws_session_token" {...SECRET} required={false} />
          </Field>
        </>
      )}
      <Field label={says.region} hint={says.regionHint}>
        <RegionInput name="region" defaultValue={region} required />
      </Field>
      <ProblemNote error={register.error ?? verify.error} />
      {verify.data && (
        <p role="status" className="rounded-md bg-good-soft px-3 py-2 text-good">
          {says.tested(verify.data.bedrock_model, verify.data.region)}
        </p>
      )}
      <DialogActions>
        <p className="mr-auto self-center text-xs text-muted">{says.testCost}</p>
        <Button onClick={test} disabled={isPending}>
          {verify.isPending ? says.testing : says.test}
        </Button>
        <Button type="submit" variant="primary" disabled={isPending}>
          {register.isPending ? says.registering : isReplacing ? says.replace : says.register}
        </Button>
      </DialogActions>
    </form>
  );
}

/** The fields that are there, under the names that the API has for them. */
function read(form: FormData): Credential {
  const fields = [...form.keys()].map((name) => [name, written(form, name).trim()] as const);
  return Object.fromEntries(fields.filter(([, value]) => value !== ''));
}
