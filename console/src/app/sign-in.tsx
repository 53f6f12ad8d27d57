import { Dialog as Radix } from 'radix-ui';
import { useState, type ReactNode } from 'react';

import { LoginForm } from '@/features/session/login-form';
import { LanguageChoice } from '@/messages/language-choice';
import { useMessages } from '@/messages/messages';
import { ThemeSwitch } from '@/theme/theme-switch';

import { Logo } from './logo';

interface SignInProps {
  heading: ReactNode;
  /** Why one has to. */
  reason?: string;
}

/** All there is for somebody without a session. */
export function SignIn({ heading, reason }: SignInProps) {
  return (
    <main className="flex min-h-dvh flex-col items-center justify-center px-4 py-8">
      <div className="w-full max-w-sm">
        <div className="mb-6 flex justify-center text-base">
          <Logo />
        </div>
        <section className="rounded-xl border border-line bg-surface p-6 shadow-card">
          <div className="mb-4 text-lg font-semibold">{heading}</div>
          {reason && <p className="mb-4 rounded-md bg-accent-soft px-3 py-2">{reason}</p>}
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

/** What had the focus; of what had none, like a button while it sends, the dialog or page it is in. */
function focusAgain(before: Element | null) {
  const had = before?.isConnected && before !== document.body ? before : null;
  const there = had ?? document.querySelector('[role=dialog]') ?? document.querySelector('main');
  if (there instanceof HTMLElement) there.focus();
}

/**
 * Covers a page whose session has ended. Nothing of it can be seen, but all of it is there
 * after signing in: what was being filled in, and a key that is shown once.
 */
export function SessionEnded() {
  const { session: says } = useMessages();
  const [before] = useState(document.activeElement);
  const stay = (event: Event) => event.preventDefault();
  return (
    <Radix.Root open>
      <Radix.Portal>
        <Radix.Content
          aria-describedby={undefined}
          onEscapeKeyDown={stay}
          onInteractOutside={stay}
          onCloseAutoFocus={(event) => {
            event.preventDefault();
            focusAgain(before);
          }}
          data-covers
          className="fixed inset-0 z-60 overflow-y-auto bg-canvas outline-none"
        >
          <SignIn
            heading={
              <Radix.Title asChild>
                <h1>{says.title}</h1>
              </Radix.Title>
            }
            reason={says.ended}
          />
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
