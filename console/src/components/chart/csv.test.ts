import { expect, test } from 'vitest';

import { toCsv } from './csv';

test('numbers stay as they are, and texts are quoted where they must be', () => {
  expect(
    toCsv([
      ['Time', 'Cost'],
      ['2026-11-20', 0.25],
      ['a, "b"', -1],
    ]),
  ).toBe('Time,Cost\r\n2026-11-20,0.25\r\n"a, ""b""",-1\r\n');
});

test('a name is no formula', () => {
  expect(toCsv([['=1+1'], ['@x'], ['-2']])).toBe("'=1+1\r\n'@x\r\n'-2\r\n");
});
