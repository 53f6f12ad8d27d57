import { ChevronLeft } from 'lucide-react';
import type { ReactNode } from 'react';
import { Link, useNavigate } from 'react-router';

import type { User } from '@/api/schema';
import { Badge } from '@/components/ui/badge';
import { Page } from '@/components/ui/page';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { UserActions } from './user-actions';

/** A user's page: who it is, and what can be done to it. */
export function UserPage({ user, children }: { user: User; children: ReactNode }) {
  const { users: says, userStatus, state } = useMessages();
  const formats = useFormats();
  const now = useNow();
  const navigate = useNavigate();
  return (
    <Page
      title={user.name}
      text={user.description}
      above={
        <Link
          to="/users"
          className="mb-2 inline-flex items-center gap-1 text-xs text-muted hover:text-ink"
        >
          <ChevronLeft aria-hidden className="size-3.5" />
          {says.back}
        </Link>
      }
      aside={
        <>
          <span className="text-xs text-muted">
            {says.lastSeen} {user.last_seen_at ? formats.ago(user.last_seen_at, now) : state.never}
          </span>
          <Badge tone={user.status === 'active' ? 'good' : 'neutral'}>
            {userStatus[user.status]}
          </Badge>
          <UserActions user={user} onDeleted={() => void navigate('/users', { replace: true })} />
        </>
      }
    >
      {user.status === 'inactive' && (
        <p className="rounded-lg bg-warn-soft px-3 py-2 text-warn">{says.inactiveNote}</p>
      )}
      {children}
    </Page>
  );
}
