import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { Navigate, Outlet, useLocation } from 'react-router';

import { Problem } from '@/components/ui/problem';
import { isSignedIn, sessionQuery } from '@/features/session/api';
import { settingsQuery } from '@/features/settings/api';
import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { useLanguage, useMessages } from '@/messages/messages';

import { SessionEnded } from './sign-in';

/**
 * Lets nobody pass without a session, and says where they wanted to go. Where a session ends,
 * the page stays as it was, out of sight.
 */
export function SignedIn() {
  const { pathname, search } = useLocation();
  const { product } = useMessages();
  const { language } = useLanguage();
  const session = useQuery(sessionQuery);
  const settings = useQuery({ ...settingsQuery, enabled: isSignedIn(session.data) });
  const timezone = settings.data?.timezone;
  const formats = useMemo(() => timezone && formatsIn(language, timezone), [language, timezone]);

  if (session.data === null) {
    const next = encodeURIComponent(pathname + search);
    return <Navigate to={`/login?next=${next}`} replace />;
  }
  const error = session.error ?? settings.error;
  const hasEnded = session.data === 'ended';
  if (error && !formats && !hasEnded) {
    return (
      <main>
        <h1 className="sr-only">{product}</h1>
        <Problem
          error={error}
          onRetry={() => void Promise.all([session.refetch(), settings.refetch()])}
        />
      </main>
    );
  }
  return (
    <>
      {session.data && formats && (
        <FormatsContext value={formats}>
          <Outlet />
        </FormatsContext>
      )}
      {hasEnded && <SessionEnded />}
    </>
  );
}
