import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { Providers } from '@/app/providers';
import { createQueryClient } from '@/app/query-client';
import { pageAtHand, Router } from '@/app/router';
import { sessionQuery } from '@/features/session/api';
import { settingsQuery } from '@/features/settings/api';
import { speak } from '@/messages/messages';

import './styles.css';

const root = document.getElementById('root');
if (root) {
  const client = createQueryClient();
  // On their way while the language and the page are. What fails is asked for again, and says so then.
  const session = client.fetchQuery(sessionQuery);
  session.then((it) => it && client.prefetchQuery(settingsQuery)).catch(() => {});
  const [spoken] = await Promise.all([speak(), pageAtHand]);
  createRoot(root).render(
    <StrictMode>
      <Providers client={client} spoken={spoken}>
        <Router />
      </Providers>
    </StrictMode>,
  );
}
