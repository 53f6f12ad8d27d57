export type CsvValue = string | number;

/** RFC 4180. What a spreadsheet would take for a formula begins with an apostrophe. */
export function toCsv(rows: CsvValue[][]): string {
  return rows.map((row) => row.map(field).join(',') + '\r\n').join('');
}

function field(value: CsvValue): string {
  if (typeof value === 'number') return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function download(name: string, csv: string) {
  // The mark is for Excel, which takes the file for something else without it.
  const url = URL.createObjectURL(new Blob(['\uFEFF', csv], { type: 'text/csv;charset=utf-8' }));
  save(url, name);
  URL.revokeObjectURL(url);
}

/** Has the browser keep what is at an address, under the name that is sent with it if none is given. */
export function save(url: string, name = '') {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
}
