import { useQuery } from '@tanstack/react-query';
import { ChevronDown } from 'lucide-react';
import { Popover } from 'radix-ui';
import { useId, useState, type KeyboardEvent } from 'react';

import { Field, Input } from '@/components/ui/field';
import { useMessages } from '@/messages/messages';

import { userQuery, usersQuery } from './api';

interface UserPickerProps {
  value: string | null;
  onChange: (user_id: string | null) => void;
}

/** One of ten thousand users, found by typing. */
export function UserPicker({ value, onChange }: UserPickerProps) {
  const { dashboard: says } = useMessages();
  const [isOpen, setOpen] = useState(false);
  const { data: chosen } = useQuery({ ...userQuery(value ?? ''), enabled: value !== null });
  const label = useId();
  const choose = (user_id: string | null) => {
    setOpen(false);
    onChange(user_id);
  };
  return (
    <div className="w-[calc(50%-0.375rem)] sm:w-52">
      <span id={label} className="mb-1 block text-xs font-medium">
        {says.user}
      </span>
      <Popover.Root open={isOpen} onOpenChange={setOpen}>
        <Popover.Trigger
          aria-describedby={label}
          className="flex h-9 w-full items-center justify-between gap-2 rounded-md border border-line-strong bg-surface px-2.5 text-left"
        >
          <span className="truncate">{value ? (chosen?.name ?? '…') : says.allUsers}</span>
          <ChevronDown aria-hidden className="size-4 shrink-0 text-muted" />
        </Popover.Trigger>
        <Popover.Portal>
          <Popover.Content
            align="start"
            sideOffset={4}
            aria-label={says.user}
            className="z-30 w-72 rounded-lg border border-line bg-surface p-2 shadow-lg"
          >
            <Choices value={value} onChoose={choose} />
          </Popover.Content>
        </Popover.Portal>
      </Popover.Root>
    </div>
  );
}

interface ChoicesProps {
  value: string | null;
  onChoose: (user_id: string | null) => void;
}

function Choices({ value, onChoose }: ChoicesProps) {
  const { dashboard: says } = useMessages();
  const list = useId();
  const [search, setSearch] = useState('');
  const [active, setActive] = useState(0);
  const { data } = useQuery(
    usersQuery({ sort: 'name', order: 'asc', limit: 8, ...(search && { search }) }),
  );
  const everybody = { id: null, name: says.allUsers };
  const options = [...(search ? [] : [everybody]), ...(data?.items ?? [])];
  const optionId = (index: number) => `${list}-${index}`;

  function onKeyDown(event: KeyboardEvent) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setActive((active + step + options.length) % Math.max(options.length, 1));
    }
    const option = options[active];
    if (event.key === 'Enter' && option) {
      event.preventDefault();
      onChoose(option.id);
    }
  }

  return (
    <>
      <Field label={says.findUser} hideLabel>
        <Input
          role="combobox"
          aria-expanded
          aria-controls={list}
          aria-activedescendant={options.length > 0 ? optionId(active) : undefined}
          value={search}
          placeholder={says.findUser}
          onKeyDown={onKeyDown}
          onChange={({ target }) => {
            setSearch(target.value);
            setActive(0);
          }}
        />
      </Field>
      <div id={list} role="listbox" aria-label={says.user} className="mt-1.5">
        {options.map((option, index) => (
          // eslint-disable-next-line jsx-a11y/click-events-have-key-events -- the combobox has the keys
          <div
            key={option.id}
            id={optionId(index)}
            role="option"
            aria-selected={option.id === value}
            tabIndex={-1}
            onClick={() => onChoose(option.id)}
            onPointerMove={() => setActive(index)}
            className={`cursor-pointer truncate rounded-md px-2 py-1.5 ${index === active ? 'bg-sunken' : ''} ${option.id === value ? 'font-medium' : ''}`}
          >
            {option.name}
          </div>
        ))}
      </div>
      {options.length === 0 && <p className="px-2 py-1.5 text-muted">{says.noUserFound}</p>}
    </>
  );
}
