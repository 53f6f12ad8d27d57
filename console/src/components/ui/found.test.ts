import { expect, test } from 'vitest';

import { found } from './found';

test.each([
  ['claude-opus-5-5', 'OPUS', true],
  ['arn:aws:bedrock:Example', 'example', true],
  ['claude-opus-5-5', 'haiku', false],
  ['claude-opus-5-5', '', true],
])('%s, looked for with "%s"', (text, wanted, isFound) => {
  expect(found(text, wanted)).toBe(isFound);
});
