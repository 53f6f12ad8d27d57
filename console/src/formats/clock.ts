/** What time it is where control is: the clock of a browser may be wrong. */

/** Answers say the time in seconds and take a moment to come; less than this is no difference. */
const INEXACT_MS = 5_000;

let aheadMs = 0;

/** Takes in what an answer says of the time, its `date` header. */
export function hearTime(date: string | null, heardAt = Date.now()) {
  const told = Date.parse(date ?? '');
  if (Number.isNaN(told)) return;
  const heard = told - heardAt;
  if (Math.abs(heard - aheadMs) >= INEXACT_MS) aheadMs = Math.abs(heard) < INEXACT_MS ? 0 : heard;
}

export const timeNow = () => new Date(Date.now() + aheadMs);
