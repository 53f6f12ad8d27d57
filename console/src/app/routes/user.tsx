import { useQuery } from '@tanstack/react-query';
import { useParams } from 'react-router';

import type { User } from '@/api/schema';
import { later } from '@/components/later';
import { Page } from '@/components/ui/page';
import { Problem } from '@/components/ui/problem';
import { Skeleton } from '@/components/ui/skeleton';
import { AccessKeys } from '@/features/access-keys/access-keys';
import { accessKeysQuery } from '@/features/access-keys/api';
import { keyName } from '@/features/access-keys/key-name';
import { UserChanges } from '@/features/audit/user-changes';
import { Budget } from '@/features/budgets/budget';
import { mappingsQuery } from '@/features/models/api';
import { Routing } from '@/features/routing/routing';
import { UserUsage } from '@/features/usage/user-usage';
import { userQuery } from '@/features/users/api';
import { UserPage } from '@/features/users/user-page';
import { useMessages } from '@/messages/messages';

// Comes when it is opened: this page is the largest, and most who look at it register nothing.
const BedrockKeyDialog = later(() =>
  import('@/features/bedrock-keys/bedrock-key-dialog').then((it) => it.BedrockKeyDialog),
);

export function UserRoute() {
  const { users } = useMessages();
  const { userId = '' } = useParams();
  const { data: user, error, refetch } = useQuery(userQuery(userId));
  if (user) return <OneUser user={user} />;
  return (
    <Page title={users.one} hasTimes={false}>
      {error ? (
        <Problem error={error} onRetry={() => void refetch()} />
      ) : (
        <Skeleton className="h-96" />
      )}
    </Page>
  );
}

function OneUser({ user }: { user: User }) {
  const keys = useQuery(accessKeysQuery(user.id));
  const { data: mappings } = useQuery(mappingsQuery);
  const models = mappings?.filter(({ is_active }) => is_active).map((it) => it.claude_model) ?? [];
  return (
    <UserPage user={user}>
      <div className="grid gap-4 lg:grid-cols-2">
        <Routing user={user} keys={keys.data ?? []} />
        <Budget user={user} />
      </div>
      {keys.data ? (
        <AccessKeys
          user={user}
          keys={keys.data}
          models={models}
          credentialDialog={(key, onClose) => (
            <BedrockKeyDialog
              access_key_id={key.id}
              name={keyName(key)}
              isRegistered={key.has_bedrock_key}
              region={key.bedrock_key?.region ?? key.bedrock_region ?? null}
              isBedrockOnly={user.routing_strategy === 'bedrock_only'}
              onClose={onClose}
            />
          )}
        />
      ) : keys.error ? (
        <Problem error={keys.error} onRetry={() => void keys.refetch()} />
      ) : (
        <Skeleton className="h-48" />
      )}
      <UserUsage
        user={user}
        keys={(keys.data ?? []).map((key) => ({ id: key.id, label: keyName(key) }))}
      />
      <UserChanges user_id={user.id} />
    </UserPage>
  );
}
