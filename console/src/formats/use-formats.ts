import { createContext, use } from 'react';

import type { Formats } from './formats';

export const FormatsContext = createContext<Formats | null>(null);

export function useFormats(): Formats {
  const formats = use(FormatsContext);
  if (!formats) throw new Error('There is no FormatsContext above.');
  return formats;
}
