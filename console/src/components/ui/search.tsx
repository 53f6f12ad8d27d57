import { Search } from 'lucide-react';
import { useEffect, useState } from 'react';

import { Field, Input } from './field';

interface SearchFieldProps {
  label: string;
  value: string;
  onSearch: (value: string) => void;
}

/** Searches when typing pauses. */
export function SearchField({ label, value, onSearch }: SearchFieldProps) {
  const [typed, setTyped] = useState(value);
  const [known, setKnown] = useState(value);
  // Cleared from outside, or gone back to.
  if (value !== known) {
    setKnown(value);
    if (value !== typed.trim()) setTyped(value);
  }
  useEffect(() => {
    if (typed.trim() === value) return;
    const timer = setTimeout(() => onSearch(typed.trim()), 250);
    return () => clearTimeout(timer);
  }, [typed, value, onSearch]);
  return (
    <Field label={label} hideLabel className="relative w-full sm:w-72">
      <Search
        aria-hidden
        className="pointer-events-none absolute top-2.5 left-2.5 size-4 text-muted"
      />
      <Input
        type="search"
        value={typed}
        placeholder={label}
        className="pl-8"
        onChange={(event) => setTyped(event.target.value)}
      />
    </Field>
  );
}
