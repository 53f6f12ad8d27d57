// @vitest-environment jsdom
import { expect, test, vi } from 'vitest';

import { answered, api } from './client';

// Before the client is made, which keeps the `fetch` that it finds.
const answer = vi.hoisted(() => {
  const next: { body: string; init: ResponseInit } = { body: '', init: {} };
  globalThis.fetch = () => Promise.resolve(new Response(next.body, next.init));
  return next;
});

function ask(status: number, type: string, body: string) {
  Object.assign(answer, { body, init: { status, headers: { 'content-type': type } } });
  return answered(api.GET('/admin/settings'));
}

test.each([
  [403, 'text/html', '<h1>Blocked</h1>'],
  [502, 'text/plain', 'Bad gateway'],
  [200, 'text/html; charset=utf-8', '<h1>Sign in to the network</h1>'],
  [400, 'application/json', '{"error":"no"}'],
  [500, 'application/json', '{"error":{"code":"internal"}}'],
])('an answer of somebody else, %i %s, is none of control', async (status, type, body) => {
  await expect(ask(status, type, body)).rejects.toMatchObject({ code: 'intercepted', status });
});

test('a refusal of control is one', async () => {
  const body = '{"error":{"code":"starting","message":"Control waits."}}';
  await expect(ask(503, 'application/json', body)).rejects.toMatchObject({
    code: 'starting',
    status: 503,
    message: 'Control waits.',
  });
});
