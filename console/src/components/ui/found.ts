/** Whether a text has what somebody looks for, written in whatever case. */
export const found = (text: string, wanted: string) =>
  text.toLowerCase().includes(wanted.toLowerCase());
