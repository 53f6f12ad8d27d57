import { Moon, Sun } from 'lucide-react';

import { Button } from '@/components/ui/button';
import { useMessages } from '@/messages/messages';

import { setTheme, useTheme } from './theme';

export function ThemeSwitch() {
  const { theme: says } = useMessages();
  const isDark = useTheme() === 'dark';
  return (
    <Button
      variant="quiet"
      size="icon"
      aria-label={isDark ? says.toLight : says.toDark}
      onClick={() => setTheme(isDark ? 'light' : 'dark')}
    >
      {isDark ? <Sun /> : <Moon />}
    </Button>
  );
}
