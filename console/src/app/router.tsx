import { lazy, type ComponentType } from 'react';
import { BrowserRouter, matchPath, Navigate, Route, Routes } from 'react-router';

import { NotFound } from './dead-ends';
import { Shell } from './shell';
import { SignedIn } from './signed-in';

/** A page that is loaded when it is gone to; the one at hand at once, beside its data. */
const page = <Name extends string>(
  name: Name,
  path: string,
  load: () => Promise<Record<Name, ComponentType>>,
) => {
  const isAtHand = matchPath(path, location.pathname === '/' ? '/dashboard' : location.pathname);
  const loading = isAtHand ? load() : null;
  // Who needs it says what went wrong.
  loading?.catch(() => {});
  return lazy(async () => ({ default: (await (loading ?? load()))[name] }));
};

const Login = page('LoginRoute', '/login', () => import('./routes/login'));
const Dashboard = page('DashboardRoute', '/dashboard', () => import('./routes/dashboard'));
const Users = page('UsersRoute', '/users', () => import('./routes/users'));
const User = page('UserRoute', '/users/:userId', () => import('./routes/user'));
const Models = page('ModelsRoute', '/models', () => import('./routes/models'));
const Pricing = page('PricingRoute', '/pricing', () => import('./routes/pricing'));
const Proxies = page('ProxiesRoute', '/proxies', () => import('./routes/proxies'));
const Audit = page('AuditRoute', '/audit', () => import('./routes/audit'));

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
