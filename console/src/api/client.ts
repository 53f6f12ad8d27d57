/** The admin API, typed by its description. */

import createClient from 'openapi-fetch';

import { hearTime } from '@/formats/clock';

import { announce } from './config-revision';
import type { Code, ErrorBody, paths } from './schema';

/**
 * A refusal of control; `unreachable` when nobody answered, `intercepted` when somebody else
 * did: a gateway, a firewall.
 */
export class ApiError extends Error {
  constructor(
    readonly code: Code | 'unreachable' | 'intercepted',
    readonly status: number,
    message: string,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** Another site cannot send this header without asking, which control never allows. */
const SAME_SITE = { 'x-requested-with': 'console' };

export const api = createClient<paths>({ baseUrl: location.origin, headers: SAME_SITE });

/** Whoever does not answer until then is not there. */
const TIMEOUT_MS = 30_000;

api.use({
  onRequest({ request }) {
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    return new Request(request, { signal });
  },
  onResponse({ response }) {
    // Control never answers with a page: what is no refusal would be taken for data.
    if (response.headers.get('content-type')?.startsWith('text/html')) throw intercepted(response);
    hearTime(response.headers.get('date'));
    const revision = Number(response.headers.get('x-config-revision'));
    if (revision > 0) announce(revision);
  },
});

/** The data of an answer; a refusal is thrown. */
export async function answered<Data>(
  request: Promise<{ data?: Data; error?: unknown; response: Response }>,
): Promise<Data> {
  const { data, error, response } = await request.catch((cause: unknown) => {
    // Somebody navigated away.
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    if (cause instanceof ApiError) throw cause;
    throw new ApiError('unreachable', 0, String(cause));
  });
  if (response.ok) return data as Data;
  throw refusal(error, response);
}

function refusal(body: unknown, response: Response): ApiError {
  const seconds = Number(response.headers.get('retry-after'));
  const retryAfterSeconds = seconds > 0 ? seconds : null;
  if (isErrorBody(body)) {
    const { code, message } = body.error;
    return new ApiError(code, response.status, message, retryAfterSeconds);
  }
  return intercepted(response);
}

const intercepted = ({ status, statusText }: Response) =>
  new ApiError('intercepted', status, statusText);

function isErrorBody(body: unknown): body is ErrorBody {
  const error = (body as Partial<ErrorBody> | null | undefined)?.error;
  return typeof error?.code === 'string' && typeof error.message === 'string';
}
