// Before the first paint, so that nothing flashes. `src/theme/theme.ts` writes what is read here.
{
  const chosen = localStorage.getItem('theme');
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.dataset.theme = chosen ?? (dark ? 'dark' : 'light');
}
