import { useQuery } from '@tanstack/react-query';
import { LogOut } from 'lucide-react';

import { Button } from '@/components/ui/button';
import { useMessages } from '@/messages/messages';

import { isSignedIn, sessionQuery, useSignOut } from './api';

/** Who is signed in, and the way out. */
export function Account() {
  const { session: says } = useMessages();
  const { data: session } = useQuery(sessionQuery);
  const signOut = useSignOut();
  if (!isSignedIn(session)) return null;
  return (
    <div className="flex items-center justify-between gap-2 pl-2.5">
      <p className="min-w-0 truncate text-xs text-muted" title={says.signedInAs(session.username)}>
        {session.username}
      </p>
      <Button
        variant="quiet"
        size="small"
        disabled={signOut.isPending}
        onClick={() => signOut.mutate()}
      >
        <LogOut />
        {says.signOut}
      </Button>
    </div>
  );
}
