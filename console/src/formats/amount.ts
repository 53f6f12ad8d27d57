/** A budget as it is typed: US dollars with cents at most, as control takes them. */
export function isAmount(text: string): boolean {
  return /^\d{1,6}(\.\d{1,2})?$/.test(text) && Number(text) >= 0.01;
}
