import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { Navigate, Outlet, useLocation } from 'react-router';

import { Problem } from '@/components/ui/problem';
import { isSignedIn, sessionQuery } from '@/features/session/api';
import { settingsQuery } from '@/features/settings/api';
import { formatsIn } from '@/formats/formats';
import { FormatsContext } from '@/formats/use-formats';
import { useLanguage } from '@/messages/messages';

/** Lets nobody pass without a session, and says where they wanted to go. */
export function SignedIn() {
  const { pathname, search } = useLocation();
  const { language } = useLanguage();
  const session = useQuery(sessionQuery);
  const settings = useQuery({ ...settingsQuery, enabled: isSignedIn(session.data) });
  const timezone = settings.data?.timezone;
  const formats = useMemo(() => timezone && formatsIn(language, timezone), [language, timezone]);

  if (session.data === null || session.data === 'ended') {
    const next = encodeURIComponent(pathname + search);
    return <Navigate to={`/login?next=${next}`} replace />;
  }
  const error = session.error ?? settings.error;
  if (error && !formats) {
    return (
      <main>
        <Problem
          error={error}
          onRetry={() => void Promise.all([session.refetch(), settings.refetch()])}
        />
      </main>
    );
  }
  if (!isSignedIn(session.data) || !formats) return null;
  return (
    <FormatsContext value={formats}>
      <Outlet />
    </FormatsContext>
  );
}
