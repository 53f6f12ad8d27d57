import { expect, test } from 'vitest';

import type { AccessKeyWithCircuit } from '@/api/schema';

import { obstacle } from './obstacle';

const now = new Date('2026-11-20T12:00:00Z');
const key = (change: Partial<AccessKeyWithCircuit>) =>
  ({ status: 'active', has_bedrock_key: true, ...change }) as AccessKeyWithCircuit;

test('a user needs a working key', () => {
  expect(obstacle([], false, now)).toEqual({ kind: 'no_keys' });
  const ended = [key({ status: 'revoked' }), key({ expires_at: '2026-11-20T11:00:00Z' })];
  expect(obstacle(ended, false, now)).toEqual({ kind: 'no_keys' });
});

test('every working key needs a credential, unless proxies have a role', () => {
  const keys = [
    key({}),
    key({ has_bedrock_key: false }),
    key({ status: 'revoked', has_bedrock_key: false }),
  ];
  expect(obstacle(keys, false, now)).toEqual({ kind: 'no_credential', missing: 1, working: 2 });
  expect(obstacle(keys, true, now)).toBeNull();
  expect(obstacle([key({})], false, now)).toBeNull();
});
