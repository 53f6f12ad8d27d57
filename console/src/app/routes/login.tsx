import { useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { Navigate, useSearchParams } from 'react-router';

import { isSignedIn, sessionQuery } from '@/features/session/api';
import { useMessages } from '@/messages/messages';

import { SignIn } from '../sign-in';

/** Only a path of ours: nobody is led elsewhere by a link. */
function ownPath(next: string | null): string {
  return next?.startsWith('/') && !next.startsWith('//') && !next.includes('\\')
    ? next
    : '/dashboard';
}

export function LoginRoute() {
  const { product, session: says } = useMessages();
  const [search] = useSearchParams();
  const { data: session } = useQuery(sessionQuery);
  const next = search.get('next');

  useEffect(() => {
    document.title = `${says.title} · ${product}`;
  }, [says, product]);

  if (isSignedIn(session)) return <Navigate to={ownPath(next)} replace />;
  return <SignIn heading={<h1>{says.title}</h1>} />;
}
