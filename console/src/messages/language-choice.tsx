import { Segmented } from '@/components/ui/segmented';

import { LANGUAGES, useLanguage, useMessages } from './messages';

export function LanguageChoice() {
  const { language: names } = useMessages();
  const { language, choose } = useLanguage();
  return (
    <Segmented
      label={names.label}
      value={language}
      options={LANGUAGES.map((value) => ({ value, label: names[value] }))}
      onChange={choose}
    />
  );
}
