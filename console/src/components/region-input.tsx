import { useId, type ComponentProps } from 'react';

import { Input } from './ui/field';

/** Where Bedrock is asked most; any other can be typed. */
const REGIONS = [
  'ap-northeast-1',
  'ap-northeast-2',
  'ap-southeast-1',
  'ap-southeast-2',
  'ap-south-1',
  'eu-central-1',
  'eu-west-1',
  'eu-west-3',
  'us-east-1',
  'us-east-2',
  'us-west-2',
];

/** An AWS region. */
export function RegionInput(props: ComponentProps<'input'>) {
  const list = useId();
  return (
    <>
      <Input list={list} autoComplete="off" spellCheck={false} {...props} />
      <datalist id={list}>
        {REGIONS.map((region) => (
          <option key={region} value={region} />
        ))}
      </datalist>
    </>
  );
}
