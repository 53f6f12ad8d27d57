import { Compass, Unplug } from 'lucide-react';
import { Component, type ReactNode } from 'react';
import { Link } from 'react-router';

import { Button, buttonLook } from '@/components/ui/button';
import { Empty } from '@/components/ui/empty';
import { Page } from '@/components/ui/page';
import { useMessages } from '@/messages/messages';

export function NotFound() {
  const { state } = useMessages();
  return (
    <Page title={state.notFoundTitle} hasTimes={false}>
      <Empty icon={Compass} title={state.notFoundText}>
        <Link to="/dashboard" className={buttonLook()}>
          {state.toDashboard}
        </Link>
      </Empty>
    </Page>
  );
}

interface BoundaryState {
  error: unknown;
}

/** Catches what a page throws. */
export class Boundary extends Component<{ children: ReactNode }, BoundaryState> {
  override state: BoundaryState = { error: null };

  static getDerivedStateFromError(error: unknown): BoundaryState {
    return { error };
  }

  override render() {
    const { error } = this.state;
    return error ? <Crashed error={error} /> : this.props.children;
  }
}

function Crashed({ error }: { error: unknown }) {
  const { state } = useMessages();
  return (
    <div role="alert">
      <Empty icon={Unplug} title={state.crashedTitle} text={state.crashedText}>
        <Button onClick={() => location.reload()}>{state.reload}</Button>
      </Empty>
      <p className="text-center font-mono text-xs text-muted">{String(error)}</p>
    </div>
  );
}
