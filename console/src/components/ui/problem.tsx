import { TriangleAlert } from 'lucide-react';
import { Link } from 'react-router';

import { ApiError } from '@/api/client';
import type { Messages } from '@/messages/en';
import { useMessages } from '@/messages/messages';

import { Button, buttonLook } from './button';
import { mistake } from './mistake';

/** Codes whose message says more than the code: which field, which parameter. */
const SPEAKS_FOR_ITSELF = new Set(['invalid_body', 'invalid_query', 'invalid_pricing']);

/** What went wrong and what to do, in the language of the console. */
export function explain(error: unknown, messages: Messages): string {
  if (!(error instanceof ApiError)) return messages.problems.unreachable;
  if (error.code === 'intercepted') return messages.problem.intercepted(error.status);
  const ofField = error.code === 'invalid_body' ? mistake(error.message, messages) : null;
  if (ofField) return ofField;
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
      <div className="mt-4 flex flex-wrap justify-center gap-2">
        {error instanceof ApiError && error.code === 'invalid_query' && (
          <Link to={{ search: '' }} className={buttonLook()}>
            {messages.dashboard.clearFilters}
          </Link>
        )}
        {onRetry && <Button onClick={onRetry}>{messages.actions.retry}</Button>}
      </div>
    </div>
  );
}

const isEndOfSession = (error: unknown) =>
  error instanceof ApiError && ['session_expired', 'not_signed_in'].includes(error.code);

/** Below a form that could not be sent. */
export function ProblemNote({ error }: { error: unknown }) {
  const messages = useMessages();
  // That a session has ended is said by what covers the page, and is over after signing in.
  if (!error || isEndOfSession(error)) return null;
  return (
    <p role="alert" className="mt-4 rounded-md bg-bad-soft px-3 py-2 text-bad">
      {explain(error, messages)}
    </p>
  );
}
