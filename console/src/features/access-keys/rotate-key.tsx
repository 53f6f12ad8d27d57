import { useState } from 'react';

import type { AccessKey, IssuedAccessKey } from '@/api/schema';
import { Dialog } from '@/components/ui/dialog';
import { Field, Select } from '@/components/ui/field';
import { FormActions } from '@/components/ui/form-actions';
import { useSettings } from '@/features/settings/api';
import { useMessages } from '@/messages/messages';

import { useRotateAccessKey } from './api';
import { keyName } from './key-name';

interface RotateKeyProps {
  accessKey: AccessKey;
  onIssued: (issued: IssuedAccessKey) => void;
  onClose: () => void;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const GRACES = [0, 5 * MINUTE, HOUR, 24 * HOUR];

export function RotateKey({ accessKey, onIssued, onClose }: RotateKeyProps) {
  const { keys: says } = useMessages();
  const { rotation_grace_seconds } = useSettings();
  const rotate = useRotateAccessKey(accessKey.id);
  const [grace, setGrace] = useState(rotation_grace_seconds);
  const graces = [...new Set([...GRACES, rotation_grace_seconds])].sort((a, b) => a - b);
  const name = (seconds: number) => {
    if (seconds === 0) return says.graceNone;
    return seconds < HOUR ? says.graceMinutes(seconds / MINUTE) : says.graceHours(seconds / HOUR);
  };
  return (
    <Dialog title={says.rotateTitle(keyName(accessKey))} text={says.rotateText} onClose={onClose}>
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          rotate.mutate(grace, { onSuccess: onIssued });
        }}
      >
        <Field label={says.grace}>
          <Select value={grace} onChange={({ target }) => setGrace(Number(target.value))}>
            {graces.map((seconds) => (
              <option key={seconds} value={seconds}>
                {name(seconds)}
              </option>
            ))}
          </Select>
        </Field>
        <FormActions
          error={rotate.error}
          submit={rotate.isPending ? says.rotating : says.rotateSubmit}
          disabled={rotate.isPending}
          onCancel={onClose}
        />
      </form>
    </Dialog>
  );
}
