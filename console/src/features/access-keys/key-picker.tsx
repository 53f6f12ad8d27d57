import type { AccessKey } from '@/api/schema';
import { Field, Select } from '@/components/ui/field';
import { useMessages } from '@/messages/messages';

import { keyName } from './key-name';

interface KeyPickerProps {
  keys: AccessKey[];
  value: string | null;
  onChange: (access_key_id: string | null) => void;
}

/** One of a user's keys, revoked ones included. */
export function KeyPicker({ keys, value, onChange }: KeyPickerProps) {
  const { dashboard: says } = useMessages();
  return (
    <Field label={says.accessKey} className="w-[calc(50%-0.375rem)] sm:w-52">
      <Select value={value ?? ''} onChange={({ target }) => onChange(target.value || null)}>
        <option value="">{says.allAccessKeys}</option>
        {keys.map((key) => (
          <option key={key.id} value={key.id}>
            {keyName(key)}
          </option>
        ))}
      </Select>
    </Field>
  );
}
