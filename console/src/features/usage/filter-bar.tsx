import { X } from 'lucide-react';
import type { ReactNode } from 'react';

import { Button } from '@/components/ui/button';
import { Field, Input, Select } from '@/components/ui/field';
import { Segmented } from '@/components/ui/segmented';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { dayOf } from '@/formats/zone';
import { useMessages } from '@/messages/messages';

import { RANGES, type Filters, type Provider, type Range } from './filters';

interface FilterBarProps {
  filters: Filters;
  /** Models that can be chosen. */
  models: string[];
  onChange: (change: Partial<Filters>) => void;
  /** Pickers of other features: of a user, of an access key. */
  children: ReactNode;
}

export function FilterBar({ filters, models, onChange, children }: FilterBarProps) {
  const { dashboard: says, provider: providers } = useMessages();
  const { model, provider } = filters;
  const options = model && !models.includes(model) ? [model, ...models] : models;
  const isFiltered = filters.user_id ?? model ?? provider;
  return (
    <section aria-label={says.filters} className="flex flex-wrap items-end gap-x-3 gap-y-2">
      <RangeChoice filters={filters} onChange={onChange} />
      {children}
      <Field label={says.model} className="w-[calc(50%-0.375rem)] sm:w-52">
        <Select
          value={model ?? ''}
          onChange={({ target }) => onChange({ model: target.value || null })}
        >
          <option value="">{says.allModels}</option>
          {options.map((option) => (
            <option key={option}>{option}</option>
          ))}
        </Select>
      </Field>
      <Field label={says.provider} className="w-[calc(50%-0.375rem)] sm:w-40">
        <Select
          value={provider ?? ''}
          onChange={({ target }) =>
            onChange({ provider: (target.value || null) as Provider | null })
          }
        >
          <option value="">{says.allProviders}</option>
          {Object.entries(providers).map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </Select>
      </Field>
      {isFiltered && (
        <Button
          variant="quiet"
          onClick={() =>
            onChange({ user_id: null, access_key_id: null, model: null, provider: null })
          }
        >
          <X />
          {says.clearFilters}
        </Button>
      )}
    </section>
  );
}

export function RangeChoice({ filters, onChange }: Pick<FilterBarProps, 'filters' | 'onChange'>) {
  const { dashboard } = useMessages();
  const { zone } = useFormats();
  const now = useNow();
  const today = dayOf(now, zone);
  const { range } = filters;
  const says = dashboard.range;
  const choose = (chosen: Range) =>
    onChange(
      chosen === 'custom'
        ? {
            range: chosen,
            from: filters.from ?? dayOf(now, zone, -13),
            to: filters.to ?? today,
          }
        : { range: chosen, from: null, to: null },
    );
  return (
    <div className="flex flex-wrap items-end gap-2">
      <Segmented
        label={says.label}
        value={range}
        options={RANGES.map((value) => ({ value, label: says[value] }))}
        onChange={choose}
      />
      {range === 'custom' && (
        <>
          <DayField
            label={says.from}
            value={filters.from}
            max={today}
            onChange={(from) => onChange({ from })}
          />
          <DayField
            label={says.to}
            value={filters.to}
            max={today}
            onChange={(to) => onChange({ to })}
          />
        </>
      )}
    </div>
  );
}

interface DayFieldProps {
  label: string;
  value: string | null;
  max: string;
  onChange: (day: string) => void;
}

function DayField({ label, value, max, onChange }: DayFieldProps) {
  return (
    <Field label={label} className="w-36">
      <Input
        type="date"
        value={value ?? ''}
        max={max}
        required
        onChange={({ target }) => target.value && onChange(target.value)}
      />
    </Field>
  );
}
