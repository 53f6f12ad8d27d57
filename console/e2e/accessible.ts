import AxeBuilder from '@axe-core/playwright';

import { expect, type Page } from './console';

/** Axe finds nothing in what the page shows now. */
export async function expectAccessible(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.map(({ id, nodes }) => ({ id, where: nodes.map(({ html }) => html) }));
  expect(found).toEqual([]);
}
