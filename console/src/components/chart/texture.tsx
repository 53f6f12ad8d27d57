/** Series differ by texture as well as by colour, so that neither is needed alone. */

const COLOURS = [
  'var(--series-1)',
  'var(--series-2)',
  'var(--series-3)',
  'var(--series-4)',
  'var(--series-5)',
  'var(--series-6)',
  'var(--series-7)',
  'var(--series-8)',
];

/** What is drawn over the colour, in squares of eight. */
const MARKS = [
  null,
  <path key="rising" d="M-2 2 2-2M0 8 8 0M6 10 10 6" />,
  <path key="dots" d="M2 2h.01M6 6h.01" strokeLinecap="round" strokeWidth="2.4" />,
  <path key="falling" d="M-2 6 2 10M0 0 8 8M6-2 10 2" />,
  <path key="flat" d="M0 2h8M0 6h8" />,
  <path key="cross" d="M0 8 8 0M0 0 8 8" />,
  <path key="upright" d="M2 0v8M6 0v8" />,
  <path key="grid" d="M0 4h8M4 0v8" />,
];

export const colour = (index: number) => COLOURS[index % COLOURS.length] ?? 'currentColor';

interface TextureProps {
  id: string;
  index: number;
}

export function Texture({ id, index }: TextureProps) {
  return (
    <pattern id={id} width="8" height="8" patternUnits="userSpaceOnUse">
      <rect width="8" height="8" fill={colour(index)} />
      <g stroke="var(--surface)" strokeWidth="1.4" fill="none" opacity="0.75">
        {MARKS[index % MARKS.length]}
      </g>
    </pattern>
  );
}

/** For a legend. */
export function Swatch({ id, index }: TextureProps) {
  return (
    <svg aria-hidden className="size-3 shrink-0 rounded-xs">
      <defs>
        <Texture id={id} index={index} />
      </defs>
      <rect width="12" height="12" fill={`url(#${id})`} />
    </svg>
  );
}
