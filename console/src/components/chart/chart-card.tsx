import { ChartColumn, Download, Table2 } from 'lucide-react';
import { useState, type ReactNode } from 'react';

import { Button } from '@/components/ui/button';
import { Card } from '@/components/ui/card';
import { Cell, HeadCell, RowHead, Table } from '@/components/ui/table';
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
  const shown = (value: CsvValue, column: number) =>
    columns[column]?.format?.(value) ?? String(value);
  return (
    <div className="max-h-80 overflow-y-auto">
      <Table
        label={title}
        head={columns.map(({ name }, column) => (
          <HeadCell key={name} numeric={column > 0}>
            {name}
          </HeadCell>
        ))}
      >
        {rows.map((row, index) => (
          <tr key={index}>
            {row.map((value, column) =>
              column === 0 ? (
                <RowHead key={column} className="whitespace-nowrap">
                  {shown(value, column)}
                </RowHead>
              ) : (
                <Cell key={column} numeric>
                  {shown(value, column)}
                </Cell>
              ),
            )}
          </tr>
        ))}
      </Table>
    </div>
  );
}
