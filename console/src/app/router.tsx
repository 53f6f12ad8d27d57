import { lazy, type ComponentType } from 'react';
import { BrowserRouter, Navigate, Route, Routes } from 'react-router';

import { NotFound } from './dead-ends';
import { Shell } from './shell';
import { SignedIn } from './signed-in';

/** A page that is loaded when it is gone to. */
const page = <Name extends string>(name: Name, load: () => Promise<Record<Name, ComponentType>>) =>
  lazy(async () => ({ default: (await load())[name] }));

const Login = page('LoginRoute', () => import('./routes/login'));
const Dashboard = page('DashboardRoute', () => import('./routes/dashboard'));
const Users = page('UsersRoute', () => import('./routes/users'));
const User = page('UserRoute', () => import('./routes/user'));
const Models = page('ModelsRoute', () => import('./routes/models'));
const Pricing = page('PricingRoute', () => import('./routes/pricing'));
const Proxies = page('ProxiesRoute', () => import('./routes/proxies'));
const Audit = page('AuditRoute', () => import('./routes/audit'));

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
