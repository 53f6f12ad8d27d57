import { useId } from 'react';
import { Area, Bar, BarChart, AreaChart, CartesianGrid, Tooltip, XAxis, YAxis } from 'recharts';

import type { BucketType } from '@/api/schema';
import { useFormats } from '@/formats/use-formats';
import { useMessages } from '@/messages/messages';

import { colour, Swatch, Texture } from './texture';
import type { Timeline } from './timeline';

interface TimeChartProps {
  title: string;
  timeline: Timeline;
  bucket: BucketType;
  isCumulative: boolean;
  label: (key: string) => string;
  format: (value: number) => string;
  tick: (value: number) => string;
}

const AXIS = { fontSize: 11, fill: 'var(--muted)' };
const FILLING = { width: '100%', height: '100%' };
const MARGIN = { top: 8, right: 4, bottom: 0, left: 0 };

/** Stacked bars for periods, stacked areas for sums. */
export function TimeChart(props: TimeChartProps) {
  const { title, timeline, bucket, isCumulative, label, format, tick } = props;
  const formats = useFormats();
  const { chart } = useMessages();
  const id = useId();
  const { keys, points } = timeline;
  const last = points.at(-1);
  const data = points.map(({ start, values }) => ({ at: start.getTime(), ...values }));
  const texture = (index: number) => `${id}-${index}`;

  const common = (
    <>
      <defs>
        {keys.map((key, index) => (
          <Texture key={key} id={texture(index)} index={index} />
        ))}
      </defs>
      <CartesianGrid vertical={false} stroke="var(--line)" />
      <XAxis
        dataKey="at"
        tickFormatter={(at: number) => formats.tick(bucket, new Date(at))}
        tick={AXIS}
        tickLine={false}
        axisLine={{ stroke: 'var(--line)' }}
        minTickGap={28}
      />
      <YAxis
        tickFormatter={tick}
        tick={AXIS}
        tickLine={false}
        axisLine={false}
        width={48}
        allowDecimals
      />
      <Tooltip
        isAnimationActive={false}
        cursor={{ fill: 'var(--sunken)', stroke: 'var(--line-strong)' }}
        content={({ active, label: at }) => {
          const point = points.find(({ start }) => start.getTime() === at);
          if (!active || !point) return null;
          return (
            <div className="rounded-lg border border-line bg-surface px-3 py-2 text-xs shadow-lg">
              <p className="mb-1 font-medium">
                {formats.bucket(bucket, point.start)}
                {point.isRunning && ` (${chart.running})`}
              </p>
              <ul className="space-y-0.5">
                {keys.toReversed().map((key) => (
                  <li key={key} className="flex items-center gap-2">
                    <Swatch id={`${id}-tip-${keys.indexOf(key)}`} index={keys.indexOf(key)} />
                    <span className="flex-1 pr-4">{label(key)}</span>
                    <span className="tabular-nums">{format(point.values[key] ?? 0)}</span>
                  </li>
                ))}
              </ul>
            </div>
          );
        }}
      />
    </>
  );

  return (
    <figure>
      <div className="h-56">
        {isCumulative ? (
          <AreaChart responsive style={FILLING} data={data} margin={MARGIN} title={title}>
            {common}
            {keys.map((key, index) => (
              <Area
                key={key}
                dataKey={key}
                stackId="all"
                type="linear"
                fill={`url(#${texture(index)})`}
                fillOpacity={0.7}
                stroke={colour(index)}
                isAnimationActive={false}
              />
            ))}
          </AreaChart>
        ) : (
          <BarChart
            responsive
            style={FILLING}
            data={data}
            margin={MARGIN}
            title={title}
            barCategoryGap="18%"
            maxBarSize={36}
          >
            {common}
            {keys.map((key, index) => (
              <Bar
                key={key}
                dataKey={key}
                stackId="all"
                fill={`url(#${texture(index)})`}
                isAnimationActive={false}
                shape={(bar: BarShape) => (
                  <BarPart
                    {...bar}
                    isRunning={bar.index === points.length - 1 && Boolean(last?.isRunning)}
                  />
                )}
              />
            ))}
          </BarChart>
        )}
      </div>
      <figcaption className="mt-3 flex flex-wrap gap-x-4 gap-y-1 text-xs text-muted">
        {keys.map((key, index) => (
          <span key={key} className="inline-flex items-center gap-1.5">
            <Swatch id={`${id}-legend-${index}`} index={index} />
            {label(key)}
          </span>
        ))}
        {last?.isRunning && (
          <span className="ml-auto">{chart.runningNote(chart.bucket[bucket])}</span>
        )}
      </figcaption>
    </figure>
  );
}

interface BarShape {
  index?: number;
  x?: number | string;
  y?: number | string;
  width?: number | string;
  height?: number | string;
  fill?: string;
}

/** The bucket that is still running is faint, with a dashed edge. */
function BarPart({ x, y, width, height, fill, isRunning }: BarShape & { isRunning: boolean }) {
  if (!Number(height)) return null;
  return (
    <rect
      x={x}
      y={y}
      width={width}
      height={height}
      fill={fill}
      fillOpacity={isRunning ? 0.55 : 1}
      stroke={isRunning ? 'var(--ink)' : 'var(--surface)'}
      strokeDasharray={isRunning ? '3 2' : undefined}
      strokeWidth={isRunning ? 1 : 0.5}
    />
  );
}
