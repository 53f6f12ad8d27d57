import { useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { Navigate, useSearchParams } from 'react-router';

import { isSignedIn, sessionQuery } from '@/features/session/api';
import { LoginForm } from '@/features/session/login-form';
import { LanguageChoice } from '@/messages/language-choice';
import { useMessages } from '@/messages/messages';
import { ThemeSwitch } from '@/theme/theme-switch';

import { Logo } from '../logo';

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
  return (
    <main className="flex min-h-dvh flex-col items-center justify-center px-4 py-8">
      <div className="w-full max-w-sm">
        <div className="mb-6 flex justify-center text-base">
          <Logo />
        </div>
        <section
          aria-labelledby="title"
          className="rounded-xl border border-line bg-surface p-6 shadow-card"
        >
          <h1 id="title" className="mb-4 text-lg font-semibold">
            {says.title}
          </h1>
          {session === 'ended' && (
            <p className="mb-4 rounded-md bg-accent-soft px-3 py-2">{says.ended}</p>
          )}
          <LoginForm />
        </section>
        <div className="mt-4 flex items-center justify-between">
          <LanguageChoice />
          <ThemeSwitch />
        </div>
      </div>
    </main>
  );
}
