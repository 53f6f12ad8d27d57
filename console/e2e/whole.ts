import { expect, type Page } from './console';

const WIDTHS = [360, 1280, 2560];

/** Nothing that the page shows now is cut, or beyond an edge, however wide the window is. */
export async function expectWhole(page: Page, widths = WIDTHS) {
  for (const width of widths) {
    await page.setViewportSize({ width, height: 900 });
    await expect.poll(() => page.evaluate(cut), `cut at ${width} px`).toEqual([]);
  }
}

/** What has more in it than it has room for, in its width. Runs in the page. */
function cut(): string[] {
  const isCut = (element: HTMLElement) => {
    const { clientWidth, scrollWidth } = element;
    // Without a width of its own: inline, not shown, or for screen readers.
    if (clientWidth <= 1) return false;
    // What is typed into a field moves in it.
    if (element.matches('input, textarea')) return false;
    return scrollWidth > clientWidth + 1;
  };
  const { body, documentElement } = document;
  return [documentElement, ...Array.from(body.querySelectorAll<HTMLElement>('*'))]
    .filter((element) => element instanceof HTMLElement && isCut(element))
    .map((element) => element.outerHTML.slice(0, 160));
}
