import {
  BadgeDollarSign,
  Boxes,
  ChartNoAxesColumn,
  Menu as MenuIcon,
  ScrollText,
  Server,
  Users,
  type LucideIcon,
} from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { Link, NavLink, Outlet, useLocation } from 'react-router';

import { Button } from '@/components/ui/button';
import { KeptProvider } from '@/components/ui/kept';
import { NoticesProvider } from '@/components/ui/notices';
import { Rollout } from '@/features/proxies/rollout';
import { Account } from '@/features/session/account';
import type { Messages } from '@/messages/en';
import { LanguageChoice } from '@/messages/language-choice';
import { useMessages } from '@/messages/messages';
import { ThemeSwitch } from '@/theme/theme-switch';

import { Boundary } from './dead-ends';
import { Logo } from './logo';

const PAGES: { to: string; name: keyof Messages['nav']; icon: LucideIcon }[] = [
  { to: '/dashboard', name: 'dashboard', icon: ChartNoAxesColumn },
  { to: '/users', name: 'users', icon: Users },
  { to: '/models', name: 'models', icon: Boxes },
  { to: '/pricing', name: 'pricing', icon: BadgeDollarSign },
  { to: '/proxies', name: 'proxies', icon: Server },
  { to: '/audit', name: 'audit', icon: ScrollText },
];

/** What is around every page: the way to the others, and what is mine. */
export function Shell() {
  const { nav } = useMessages();
  const { pathname } = useLocation();
  const [openAt, setOpenAt] = useState<string | null>(null);
  const main = useRef<HTMLElement>(null);
  const isOpen = openAt === pathname;

  useEffect(() => {
    window.scrollTo(0, 0);
  }, [pathname]);

  return (
    <NoticesProvider above={<Rollout />}>
      <div className="min-h-dvh lg:grid lg:grid-cols-[14rem_minmax(0,1fr)]">
        <a
          href="#main"
          onClick={(event) => {
            event.preventDefault();
            main.current?.focus();
          }}
          className="sr-only focus:not-sr-only focus:fixed focus:top-2 focus:left-2 focus:z-50 focus:rounded-md focus:bg-surface focus:px-3 focus:py-2"
        >
          {nav.skip}
        </a>
        <header className="sticky top-0 z-20 border-b border-line bg-canvas lg:flex lg:h-dvh lg:flex-col lg:border-b-0">
          <div className="flex h-14 items-center justify-between px-4">
            <Link to="/dashboard" className="rounded-md">
              <Logo />
            </Link>
            <Button
              variant="quiet"
              size="icon"
              className="lg:hidden"
              aria-label={nav.open}
              aria-expanded={isOpen}
              aria-controls="navigation"
              onClick={() => setOpenAt(isOpen ? null : pathname)}
            >
              <MenuIcon />
            </Button>
          </div>
          <div
            id="navigation"
            className={`${isOpen ? 'flex' : 'hidden'} flex-1 flex-col px-2 pb-3 lg:flex`}
          >
            <nav aria-label={nav.label}>
              <ul className="space-y-0.5">
                {PAGES.map(({ to, name, icon: Icon }) => (
                  <li key={to}>
                    <NavLink
                      to={to}
                      className="flex h-9 items-center gap-2.5 rounded-md px-2.5 font-medium text-muted hover:bg-sunken hover:text-ink aria-[current=page]:bg-accent-soft aria-[current=page]:text-accent"
                    >
                      <Icon aria-hidden className="size-4" />
                      {nav[name]}
                    </NavLink>
                  </li>
                ))}
              </ul>
            </nav>
            <div className="mt-4 space-y-2 border-t border-line pt-3 lg:mt-auto">
              <div className="flex items-center justify-between gap-2 px-1">
                <LanguageChoice />
                <ThemeSwitch />
              </div>
              <Account />
            </div>
          </div>
        </header>
        <main
          id="main"
          ref={main}
          tabIndex={-1}
          className="min-w-0 px-4 py-5 outline-none sm:px-6 lg:min-h-dvh lg:border-l lg:border-line lg:py-6"
        >
          <div className="mx-auto max-w-[124rem]">
            <KeptProvider>
              <Boundary key={pathname}>
                <Outlet />
              </Boundary>
            </KeptProvider>
          </div>
        </main>
      </div>
    </NoticesProvider>
  );
}
