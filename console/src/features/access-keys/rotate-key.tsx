import { useState } from 'react';

import type { AccessKey, User } from '@/api/schema';
import { Dialog } from '@/components/ui/dialog';
import { Field, Select } from '@/components/ui/field';
import { FormActions } from '@/components/ui/form-actions';
import { useAskBeforeLeaving } from '@/components/ui/kept';
import { useSettings } from '@/features/settings/api';
import { useMessages } from '@/messages/messages';

import { useRotateAccessKey } from './api';
import { keyName } from './key-name';
import { useReveal } from './use-reveal';

interface RotateKeyProps {
  user: User;
  accessKey: AccessKey;
  onClose: () => void;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const GRACES = [0, 5 * MINUTE, HOUR, 24 * HOUR];

export function RotateKey({ user, accessKey, onClose }: RotateKeyProps) {
  const { keys: says } = useMessages();
  const { rotation_grace_seconds } = useSettings();
  const rotate = useRotateAccessKey(accessKey.id, useReveal(user.routing_strategy));
  useAskBeforeLeaving(rotate.isPending);
  const [grace, setGrace] = useState(rotation_grace_seconds);
  const graces = [...new Set([...GRACES, rotation_grace_seconds])].sort((a, b) => a - b);
  const name = (seconds: number) => {
    if (seconds === 0) return says.graceNone;
    return seconds < HOUR ? says.graceMinutes(seconds / MINUTE) : says.graceHours(seconds / HOUR);
  };
  return (
    <Dialog
      title={says.rotateTitle(keyName(accessKey))}
      text={says.rotateText}
      dismissible={!rotate.isPending}
      onClose={onClose}
    >
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          rotate.mutate(grace, { onSuccess: onClose });
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
          pending={rotate.isPending}
          onCancel={onClose}
        />
      </form>
    </Dialog>
  );
}
