/** What was changed, field by field. */

export interface Change {
  field: string;
  before: unknown;
  after: unknown;
}

type Fields = Record<string, unknown> | null | undefined;

/** Fields that differ; all of them when something was made or deleted. */
export function changes(before: Fields, after: Fields): Change[] {
  const fields = new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})]);
  return [...fields]
    .map((field) => ({ field, before: before?.[field] ?? null, after: after?.[field] ?? null }))
    .filter((change) => JSON.stringify(change.before) !== JSON.stringify(change.after));
}
