/** Light or dark: what was chosen, else what the system has. `public/theme.js` applies it first. */

import { useSyncExternalStore } from 'react';

export type Theme = 'light' | 'dark';

const listeners = new Set<() => void>();

const root = document.documentElement;

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function setTheme(theme: Theme) {
  root.dataset.theme = theme;
  localStorage.setItem('theme', theme);
  for (const listener of listeners) listener();
}

export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, () => (root.dataset.theme === 'dark' ? 'dark' : 'light'));
}
