import type { Messages } from '@/messages/en';

type Rule = Exclude<keyof Messages['mistake'], 'fields' | 'inField'>;

/** What control says of a field, after the field's name. */
const RULES: [RegExp, Rule][] = [
  [/^must not be empty$/, 'empty'],
  [/^must not have (?:control characters|the character NUL)$/, 'unprintable'],
  [/^must be ASCII without spaces$/, 'notAscii'],
  [/^must have at most (\d+) characters$/, 'tooLong'],
  [/^must be in the future$/, 'past'],
  [/^must be the name of an AWS region\b/, 'noRegion'],
  [/^must be from 0\.01 to 999999\.99, or null$/, 'noBudget'],
  [/^must have two decimals at most$/, 'noCents'],
];

/** What is wrong with a field, in the words of the form; null for what the console does not know. */
export function mistake(message: string, { mistake: says }: Messages): string | null {
  const [, field = '', wrong = ''] = /^(\w+) (.+)\.$/.exec(message) ?? [];
  const name = (says.fields as Record<string, string>)[field];
  if (!name) return null;
  for (const [pattern, rule] of RULES) {
    const found = pattern.exec(wrong);
    if (!found) continue;
    const words = says[rule];
    return says.inField(name, typeof words === 'string' ? words : words(found[1] ?? ''));
  }
  return null;
}
