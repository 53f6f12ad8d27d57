import { TriangleAlert } from 'lucide-react';

import { ApiError } from '@/api/client';
import type { Messages } from '@/messages/en';
import { useMessages } from '@/messages/messages';

import { Button } from './button';

/** Codes whose message says more than the code: which field, which parameter. */
const SPEAKS_FOR_ITSELF = new Set(['invalid_body', 'invalid_query', 'invalid_pricing']);

/** What went wrong and what to do, in the language of the console. */
export function explain(error: unknown, messages: Messages): string {
  if (!(error instanceof ApiError)) return messages.problems.unreachable;
  const sentences: string[] = [messages.problems[error.code] ?? error.message];
  if (SPEAKS_FOR_ITSELF.has(error.code)) sentences.push(error.message);
  if (error.retryAfterSeconds)
    sentences.push(messages.problem.waitSeconds(error.retryAfterSeconds));
  return sentences.join(' ');
}

/** In place of what could not be loaded. */
export function Problem({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const messages = useMessages();
  return (
    <div role="alert" className="flex flex-col items-center px-4 py-10 text-center">
      <TriangleAlert aria-hidden className="mb-3 size-7 text-bad" strokeWidth={1.5} />
      <p className="font-medium">{messages.problem.title}</p>
      <p className="mt-1 max-w-md text-muted">{explain(error, messages)}</p>
      {onRetry && (
        <Button className="mt-4" onClick={onRetry}>
          {messages.actions.retry}
        </Button>
      )}
    </div>
  );
}

/** Below a form that could not be sent. */
export function ProblemNote({ error }: { error: unknown }) {
  const messages = useMessages();
  if (!error) return null;
  return (
    <p role="alert" className="mt-4 rounded-md bg-bad-soft px-3 py-2 text-bad">
      {explain(error, messages)}
    </p>
  );
}
