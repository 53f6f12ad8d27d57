import type { AccessKey, User } from '@/api/schema';
import { useNotify } from '@/components/ui/notices';
import { useMessages } from '@/messages/messages';

import { useChangeAccessKey, useIssueAccessKey } from './api';
import { KeyForm } from './key-form';
import { keyName } from './key-name';
import { useReveal } from './use-reveal';

interface IssueKeyProps {
  user: User;
  models: string[];
  onClose: () => void;
}

export function IssueKey({ user, models, onClose }: IssueKeyProps) {
  const { keys: says } = useMessages();
  const issue = useIssueAccessKey(user.id, useReveal(user.routing_strategy));
  return (
    <KeyForm
      title={says.issueTitle(user.name)}
      text={says.issueText}
      models={models}
      submit={issue.isPending ? says.issuing : says.issueSubmit}
      pending={issue.isPending}
      error={issue.error}
      onSubmit={(settings) => issue.mutate(settings, { onSuccess: onClose })}
      onClose={onClose}
    />
  );
}

interface EditKeyProps {
  accessKey: AccessKey;
  models: string[];
  onClose: () => void;
}

export function EditKey({ accessKey, models, onClose }: EditKeyProps) {
  const { keys: says, actions } = useMessages();
  const notify = useNotify();
  const change = useChangeAccessKey(accessKey.id);
  return (
    <KeyForm
      title={says.editTitle(keyName(accessKey))}
      settings={accessKey}
      models={models}
      submit={change.isPending ? actions.saving : actions.save}
      pending={change.isPending}
      error={change.error}
      onSubmit={(settings) =>
        change.mutate(settings, {
          onSuccess: () => {
            notify(says.changed);
            onClose();
          },
        })
      }
      onClose={onClose}
    />
  );
}
