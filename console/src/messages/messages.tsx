/** The language of the console: chosen, else the browser's, else English. */

import { createContext, use, useState, type ReactNode } from 'react';

import type { Messages } from './en';

export const LANGUAGES = ['en', 'ko'] as const;
export type Language = (typeof LANGUAGES)[number];

const LOADERS: Record<Language, () => Promise<Messages>> = {
  en: () => import('./en').then(({ en }) => en),
  ko: () => import('./ko').then(({ ko }) => ko),
};

interface Spoken {
  language: Language;
  messages: Messages;
}

interface Choice extends Spoken {
  choose: (language: Language) => void;
}

const Context = createContext<Choice | null>(null);

function preferred(): Language {
  const wanted = [localStorage.getItem('language'), ...navigator.languages];
  for (const tag of wanted) {
    const language = LANGUAGES.find((it) => tag?.split('-')[0] === it);
    if (language) return language;
  }
  return 'en';
}

export async function speak(language = preferred()): Promise<Spoken> {
  const messages = await LOADERS[language]();
  document.documentElement.lang = language;
  return { language, messages };
}

export function MessagesProvider({ spoken, children }: { spoken: Spoken; children: ReactNode }) {
  const [current, setCurrent] = useState(spoken);
  const choose = (language: Language) => {
    localStorage.setItem('language', language);
    void speak(language).then(setCurrent);
  };
  return <Context value={{ ...current, choose }}>{children}</Context>;
}

function useChoice(): Choice {
  const choice = use(Context);
  if (!choice) throw new Error('There is no MessagesProvider above.');
  return choice;
}

export const useMessages = () => useChoice().messages;

export function useLanguage() {
  const { language, choose } = useChoice();
  return { language, choose };
}
