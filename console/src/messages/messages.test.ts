import { expect, test } from 'vitest';

import { en } from './en';
import { ko } from './ko';

/** Every text with its path; what needs values is given some. */
function texts(messages: object, path: string[] = []): [string, string][] {
  return Object.entries(messages).flatMap(([key, value]: [string, unknown]) => {
    const here = [...path, key];
    if (typeof value === 'string') return [[here.join('.'), value]];
    if (typeof value === 'function') {
      const given = Array.from({ length: value.length }, (_, index) => 41 + index);
      return [[here.join('.'), String((value as (...values: number[]) => string)(...given))]];
    }
    return texts(value as object, here);
  });
}

const english = texts(en);
const korean = texts(ko);

test('no language lacks a message, and none has one more', () => {
  expect(korean.map(([path]) => path).sort()).toEqual(english.map(([path]) => path).sort());
});

test('no message is empty', () => {
  expect([...english, ...korean].filter(([, text]) => text.trim() === '')).toEqual([]);
});

test('both languages tell the same values', () => {
  const told = (list: [string, string][]) =>
    Object.fromEntries(
      list.map(([path, text]) => [path, (text.match(/4[1-3]/g) ?? []).length > 0]),
    );
  expect(told(korean)).toEqual(told(english));
});

test('what is said in Korean is said in Korean', () => {
  const latin = korean.filter(([, text]) => /[a-z]/i.test(text) && !/[가-힣]/.test(text));
  // Names, and what is the same everywhere.
  expect(latin.map(([path]) => path)).toMatchInlineSnapshot(`
    [
      "product",
      "language.en",
      "provider.bedrock",
      "keys.credential",
      "circuit.open",
      "circuit.bedrockOnly",
      "issued.tabs.settings",
      "issued.tabs.github",
      "models.bedrockApi",
    ]
  `);
});
