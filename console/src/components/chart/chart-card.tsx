import { ChartColumn, Download, Table2 } from 'lucide-react';
import { useState, type ReactNode } from 'react';

import { Button } from '@/components/ui/button';
import { Card } from '@/components/ui/card';
import { Table, type Column } from '@/components/ui/table';
import { useMessages } from '@/messages/messages';

import { download, toCsv, type CsvValue } from './csv';

/** The numbers of a chart. The first column names the row. */
export interface ChartTable {
  columns: { name: string; format?: (value: CsvValue) => string }[];
  rows: CsvValue[][];
}

interface ChartCardProps {
  title: string;
  text?: ReactNode;
  /** What a downloaded file is called, without its ending. */
  name: string;
  table: ChartTable;
  className?: string;
  children: ReactNode;
}

/** A chart, the table behind it, and the table as a file. */
export function ChartCard({ title, text, name, table, className, children }: ChartCardProps) {
  const { actions } = useMessages();
  const [isTable, setTable] = useState(false);
  const other = isTable ? actions.chart : actions.table;
  const csv = () => toCsv([table.columns.map((column) => column.name), ...table.rows]);
  return (
    <Card
      title={title}
      text={text}
      className={className}
      flush={isTable}
      aside={
        <div className="flex">
          <Button
            variant="quiet"
            size="smallIcon"
            aria-label={`${title}: ${other}`}
            title={other}
            onClick={() => setTable(!isTable)}
          >
            {isTable ? <ChartColumn /> : <Table2 />}
          </Button>
          <Button
            variant="quiet"
            size="smallIcon"
            aria-label={`${title}: ${actions.downloadCsv}`}
            title={actions.downloadCsv}
            onClick={() => download(`${name}.csv`, csv())}
          >
            <Download />
          </Button>
        </div>
      }
    >
      {isTable ? <Numbers title={title} table={table} /> : children}
    </Card>
  );
}

function Numbers({ title, table: { columns, rows } }: { title: string; table: ChartTable }) {
  const shown = (value: CsvValue = '', format?: (value: CsvValue) => string) =>
    format?.(value) ?? String(value);
  return (
    <div
      role="group"
      aria-label={title}
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- who scrolls by keyboard must get there
      tabIndex={0}
      className="max-h-80 overflow-y-auto"
    >
      <Table
        label={title}
        columns={columns.map(({ name, format }, column): Column<CsvValue[]> => ({
          name,
          numeric: column > 0,
          cell: (row) => shown(row[column], format),
        }))}
        items={rows}
        keyOf={(row) => String(rows.indexOf(row))}
      />
    </div>
  );
}
