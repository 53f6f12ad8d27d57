import type { FormEvent } from 'react';

import { Button } from '@/components/ui/button';
import { Field, Input } from '@/components/ui/field';
import { ProblemNote } from '@/components/ui/problem';
import { written } from '@/components/ui/written';
import { useMessages } from '@/messages/messages';

import { useSignIn } from './api';

export function LoginForm() {
  const { session: says } = useMessages();
  const signIn = useSignIn();

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    signIn.mutate({ username: written(form, 'username'), password: written(form, 'password') });
  }

  return (
    <form onSubmit={submit} className="space-y-4">
      <Field label={says.username}>
        <Input name="username" autoComplete="username" autoCapitalize="none" required />
      </Field>
      <Field label={says.password}>
        <Input name="password" type="password" autoComplete="current-password" required />
      </Field>
      <Button
        type="submit"
        variant="primary"
        className="w-full justify-center"
        disabled={signIn.isPending}
      >
        {signIn.isPending ? says.submitting : says.submit}
      </Button>
      <ProblemNote error={signIn.error} />
    </form>
  );
}
