/** What stands in a field of a form. */
export function written(form: FormData, field: string): string {
  const value = form.get(field);
  return typeof value === 'string' ? value : '';
}

/**
 * The fields that were filled in anew. Only these are sent: another administrator may have
 * changed the rest since.
 */
export function changed<T extends object>(shown: T, filled: T): Partial<T> {
  const fields = Object.keys(filled) as (keyof T)[];
  const anew = fields.filter((field) => filled[field] !== shown[field]);
  return Object.fromEntries(anew.map((field) => [field, filled[field]])) as Partial<T>;
}
