import { expect, test } from 'vitest';

import { en } from '@/messages/en';
import { ko } from '@/messages/ko';

import { mistake } from './mistake';

test.each([
  ['name must not be empty.', 'Name: must not be empty.', '이름: 비워 둘 수 없습니다.'],
  [
    'description must have at most 1000 characters.',
    'Description: must have at most 1000 characters.',
    '설명: 최대 1000자까지 쓸 수 있습니다.',
  ],
  [
    'expires_at must be in the future.',
    'Expiry: must be in the future.',
    '만료: 지금 이후여야 합니다.',
  ],
  [
    'region must be the name of an AWS region, such as ap-northeast-2.',
    'Region: must be the name of an AWS region, such as ap-northeast-2.',
    '리전: ap-northeast-2와 같은 AWS 리전 이름이어야 합니다.',
  ],
])('%s', (message, english, korean) => {
  expect(mistake(message, en)).toBe(english);
  expect(mistake(message, ko)).toBe(korean);
});

test.each(['planet must not be empty.', 'name must rhyme.', 'The body must be a JSON object.'])(
  'is not known: %s',
  (message) => {
    expect(mistake(message, en)).toBeNull();
  },
);
