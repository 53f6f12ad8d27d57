import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { Providers } from '@/app/providers';
import { Router } from '@/app/router';
import { speak } from '@/messages/messages';

import './styles.css';

const root = document.getElementById('root');
if (root) {
  const spoken = await speak();
  createRoot(root).render(
    <StrictMode>
      <Providers spoken={spoken}>
        <Router />
      </Providers>
    </StrictMode>,
  );
}
