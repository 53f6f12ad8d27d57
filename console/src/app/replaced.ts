/** Whether control serves another console by now: its first script has another name. */
export async function isReplaced(): Promise<boolean> {
  const running = document.querySelector('script[type=module]')?.getAttribute('src');
  try {
    const answer = await fetch('/', { cache: 'no-store' });
    return Boolean(answer.ok && running && !(await answer.text()).includes(running));
  } catch {
    return false; // nobody answers: that is no other console
  }
}
