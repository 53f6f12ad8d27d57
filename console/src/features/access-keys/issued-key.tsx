import { KeyRound } from 'lucide-react';
import { Tabs } from 'radix-ui';
import type { ReactNode } from 'react';

import type { IssuedAccessKey, RoutingStrategy } from '@/api/schema';
import { Button } from '@/components/ui/button';
import { CodeBlock } from '@/components/ui/copy';
import { Dialog, DialogActions } from '@/components/ui/dialog';
import { useAskBeforeLeaving } from '@/components/ui/kept';
import { useSettings } from '@/features/settings/api';
import { useMessages } from '@/messages/messages';

import statusLine from '../../../../scripts/status-line?raw';
import { baseUrl, linesFor } from './lines';

interface IssuedKeyProps {
  issued: IssuedAccessKey;
  routing_strategy: RoutingStrategy;
  onClose: () => void;
}

/** A new key, this one time, with all that a developer needs to use it. */
export function IssuedKey({ issued, routing_strategy, onClose }: IssuedKeyProps) {
  const { issued: says } = useMessages();
  const { public_url } = useSettings();
  useAskBeforeLeaving();
  const base_url = baseUrl(public_url, issued.raw_key);
  const lines = linesFor({ base_url, routing_strategy, model: issued.model ?? null });
  const isBedrockOnly = routing_strategy === 'bedrock_only';
  return (
    <Dialog wide dismissible={false} title={says.title} text={says.once} onClose={onClose}>
      <div className="space-y-4">
        <Block label={says.rawKey} code={issued.raw_key} />
        <Tabs.Root defaultValue="shell">
          <Tabs.List
            aria-label={says.title}
            className="mb-3 flex flex-wrap gap-x-1 border-b border-line"
          >
            {Object.entries(says.tabs).map(([value, name]) => (
              <Tabs.Trigger
                key={value}
                value={value}
                className="-mb-px border-b-2 border-transparent px-2.5 py-2 font-medium whitespace-nowrap text-muted -outline-offset-2 hover:text-ink data-[state=active]:border-accent data-[state=active]:text-ink"
              >
                {name}
              </Tabs.Trigger>
            ))}
          </Tabs.List>
          <Tab value="shell">
            <Block label={says.shellText} code={lines.shell} />
          </Tab>
          <Tab value="settings">
            <Block label={says.settingsText} code={lines.settings} />
          </Tab>
          <Tab value="statusLine">
            <Block label={says.statusScript} code={statusLine} />
            <Block label={says.statusSettings} code={lines.statusSettings} />
          </Tab>
          <Tab value="github">
            <Block label={says.githubSecret} code={lines.githubSecret} />
            <Block label={says.githubWorkflow} code={lines.githubWorkflow} />
            {!isBedrockOnly && <p className="text-xs text-muted">{says.githubPlan}</p>}
          </Tab>
        </Tabs.Root>
        <p className="flex gap-2 rounded-md bg-accent-soft px-3 py-2">
          <KeyRound aria-hidden className="mt-0.5 size-4 shrink-0 text-accent" />
          {isBedrockOnly ? says.bedrockOnly : says.planFirst}
        </p>
      </div>
      <DialogActions>
        <Button variant="primary" onClick={onClose}>
          {says.done}
        </Button>
      </DialogActions>
    </Dialog>
  );
}

function Tab({ value, children }: { value: string; children: ReactNode }) {
  return (
    <Tabs.Content value={value} className="space-y-3 rounded-md">
      {children}
    </Tabs.Content>
  );
}

function Block({ label, code }: { label: string; code: string }) {
  const { issued: says } = useMessages();
  return (
    <div>
      <p className="mb-1 text-xs font-medium">{label}</p>
      <CodeBlock code={code} label={says.copyOf(label)} />
    </div>
  );
}
