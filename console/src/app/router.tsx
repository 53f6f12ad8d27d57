import type { ComponentType } from 'react';
import { BrowserRouter, matchPath, Navigate, Route, Routes } from 'react-router';

import { later } from '@/components/later';

import { NotFound } from './dead-ends';
import { isReplaced } from './replaced';
import { Shell } from './shell';
import { SignedIn } from './signed-in';

/**
 * The page that is asked for is loaded before anything is shown: what React itself has to wait
 * for it shows 300 ms later at the earliest.
 */
export let pageAtHand: Promise<void> = Promise.resolve();

/** A page that is loaded when it is gone to; of another console, the whole of that. */
function page(path: string, load: () => Promise<ComponentType>) {
  const Page = later(() =>
    load().catch(async (error: unknown) => {
      if (await isReplaced()) location.reload();
      throw error;
    }),
  );
  if (matchPath(path, location.pathname === '/' ? '/dashboard' : location.pathname)) {
    pageAtHand = Page.ahead().catch(() => {}); // is tried again, and says what went wrong
  }
  return Page;
}

const Login = page('/login', () => import('./routes/login').then((it) => it.LoginRoute));
const Dashboard = page('/dashboard', () =>
  import('./routes/dashboard').then((it) => it.DashboardRoute),
);
const Users = page('/users', () => import('./routes/users').then((it) => it.UsersRoute));
const User = page('/users/:userId', () => import('./routes/user').then((it) => it.UserRoute));
const Models = page('/models', () => import('./routes/models').then((it) => it.ModelsRoute));
const Pricing = page('/pricing', () => import('./routes/pricing').then((it) => it.PricingRoute));
const Proxies = page('/proxies', () => import('./routes/proxies').then((it) => it.ProxiesRoute));
const Audit = page('/audit', () => import('./routes/audit').then((it) => it.AuditRoute));

export function Router() {
  return (
    <BrowserRouter>
      <Routes>
        <Route path="/login" element={<Login />} />
        <Route element={<SignedIn />}>
          <Route element={<Shell />}>
            <Route index element={<Navigate to="/dashboard" replace />} />
            <Route path="/dashboard" element={<Dashboard />} />
            <Route path="/users" element={<Users />} />
            <Route path="/users/:userId" element={<User />} />
            <Route path="/models" element={<Models />} />
            <Route path="/pricing" element={<Pricing />} />
            <Route path="/proxies" element={<Proxies />} />
            <Route path="/audit" element={<Audit />} />
            <Route path="*" element={<NotFound />} />
          </Route>
        </Route>
      </Routes>
    </BrowserRouter>
  );
}
