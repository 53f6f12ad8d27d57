import { KeyRound, Pencil, Plus, RotateCw, ShieldCheck, Trash2 } from 'lucide-react';
import { useState, type ReactNode } from 'react';

import type { AccessKeyWithCircuit, User } from '@/api/schema';
import { later } from '@/components/later';
import { Badge, type Tone } from '@/components/ui/badge';
import { Button } from '@/components/ui/button';
import { Card } from '@/components/ui/card';
import { Empty } from '@/components/ui/empty';
import { Menu, MenuItem } from '@/components/ui/menu';
import { Table } from '@/components/ui/table';
import { useFormats } from '@/formats/use-formats';
import { useNow } from '@/formats/use-now';
import { useMessages } from '@/messages/messages';

import { CircuitState } from './circuit-state';
import { keyName } from './key-name';
import { RevokeKey } from './revoke-key';
import { statusOf } from './status';

const IssueKey = later(() => import('./issue-key').then((it) => it.IssueKey));
const EditKey = later(() => import('./issue-key').then((it) => it.EditKey));
const RotateKey = later(() => import('./rotate-key').then((it) => it.RotateKey));

/** What is asked about one key in a dialog. */
type KeyQuestion = 'edit' | 'rotate' | 'revoke' | 'credential';

type Asked = { about: KeyQuestion; accessKey: AccessKeyWithCircuit } | { about: 'issue' };

interface AccessKeysProps {
  user: User;
  keys: AccessKeyWithCircuit[];
  /** Models that Claude Code can be told to use. */
  models: string[];
  /** The dialog about a key's credential, which is another feature's. */
  credentialDialog: (accessKey: AccessKeyWithCircuit, onClose: () => void) => ReactNode;
}

export function AccessKeys({ user, keys, models, credentialDialog }: AccessKeysProps) {
  const { keys: says } = useMessages();
  const [asked, ask] = useState<Asked | null>(null);
  const [showsRevoked, setShowsRevoked] = useState(false);
  const revoked = keys.filter(({ status }) => status === 'revoked').length;
  const shown = showsRevoked ? keys : keys.filter(({ status }) => status !== 'revoked');
  const isActive = user.status === 'active';
  const close = () => ask(null);

  return (
    <Card
      flush
      title={says.title}
      aside={
        <>
          {revoked > 0 && (
            <Button variant="quiet" size="small" onClick={() => setShowsRevoked(!showsRevoked)}>
              {showsRevoked ? says.hideRevoked : says.showRevoked(revoked)}
            </Button>
          )}
          <Button
            variant="primary"
            size="small"
            disabled={!isActive}
            onClick={() => ask({ about: 'issue' })}
          >
            <Plus aria-hidden />
            {says.issue}
          </Button>
        </>
      }
    >
      {shown.length === 0 ? (
        <Empty
          icon={KeyRound}
          title={says.empty}
          text={isActive ? says.emptyText : says.emptyInactive}
        />
      ) : (
        <KeysTable user={user} keys={shown} onAsk={ask} />
      )}
      {asked && dialog(asked)}
    </Card>
  );

  function dialog(asked: Asked): ReactNode {
    switch (asked.about) {
      case 'issue':
        return <IssueKey user={user} models={models} onClose={close} />;
      case 'edit':
        return <EditKey accessKey={asked.accessKey} models={models} onClose={close} />;
      case 'rotate':
        return <RotateKey user={user} accessKey={asked.accessKey} onClose={close} />;
      case 'revoke':
        return <RevokeKey accessKey={asked.accessKey} onClose={close} />;
      case 'credential':
        return credentialDialog(asked.accessKey, close);
    }
  }
}

interface KeysTableProps {
  user: User;
  keys: AccessKeyWithCircuit[];
  onAsk: (asked: Asked) => void;
}

function KeysTable({ user, keys, onAsk }: KeysTableProps) {
  const { keys: says, state, credential } = useMessages();
  const formats = useFormats();
  const now = useNow(keys.some(({ status }) => status === 'rotating') ? 1_000 : 30_000);
  return (
    <Table
      label={says.title}
      items={keys}
      keyOf={({ id }) => id}
      columns={[
        {
          name: says.key,
          wraps: true,
          cell: ({ name, key_prefix }) => (
            <>
              <span className="block font-medium">{name ?? says.unnamed}</span>
              <code className="font-mono text-xs text-muted">{key_prefix}…</code>
            </>
          ),
        },
        { name: says.status, cell: (accessKey) => <KeyStatus accessKey={accessKey} now={now} /> },
        {
          name: says.credential,
          cell: ({ bedrock_key }) =>
            bedrock_key ? (
              <>
                <span className="block">{credential.kinds[bedrock_key.kind]}</span>
                <span className="text-xs text-muted">{bedrock_key.region}</span>
              </>
            ) : (
              <span className="text-muted">{says.noCredential}</span>
            ),
        },
        {
          name: says.circuit,
          cell: (accessKey) =>
            works(accessKey, now) ? (
              <CircuitState accessKey={accessKey} routing_strategy={user.routing_strategy} />
            ) : (
              state.none
            ),
        },
        {
          name: says.lastUsed,
          cell: ({ last_used_at }) =>
            last_used_at ? (
              <span title={formats.exactTime(last_used_at)}>{formats.ago(last_used_at, now)}</span>
            ) : (
              state.never
            ),
        },
        {
          name: says.expires,
          cell: ({ expires_at }) =>
            expires_at ? (
              <span title={formats.exactTime(expires_at)}>{formats.date(expires_at)}</span>
            ) : (
              state.never
            ),
        },
      ]}
      actions={{
        name: says.actionsOf(''),
        cell: (accessKey) =>
          accessKey.status !== 'revoked' && (
            <KeyMenu
              accessKey={accessKey}
              isUserActive={user.status === 'active'}
              isRotating={accessKey.status === 'rotating'}
              onAsk={(about) => onAsk({ about, accessKey })}
            />
          ),
      }}
    />
  );
}

function works(accessKey: AccessKeyWithCircuit, now: Date): boolean {
  const status = statusOf(accessKey, now);
  return status === 'active' || status === 'rotating';
}

interface KeyMenuProps {
  accessKey: AccessKeyWithCircuit;
  isUserActive: boolean;
  isRotating: boolean;
  onAsk: (about: KeyQuestion) => void;
}

function KeyMenu({ accessKey, isUserActive, isRotating, onAsk }: KeyMenuProps) {
  const { keys: says, credential, actions } = useMessages();
  return (
    <Menu label={says.actionsOf(keyName(accessKey))}>
      <MenuItem onSelect={() => onAsk('edit')}>
        <Pencil aria-hidden />
        {actions.edit}
      </MenuItem>
      {isUserActive && (
        <MenuItem onSelect={() => onAsk('credential')}>
          <ShieldCheck aria-hidden />
          {credential.manage}
        </MenuItem>
      )}
      {isUserActive && !isRotating && (
        <MenuItem onSelect={() => onAsk('rotate')}>
          <RotateCw aria-hidden />
          {says.rotate}
        </MenuItem>
      )}
      <MenuItem danger onSelect={() => onAsk('revoke')}>
        <Trash2 aria-hidden />
        {says.revoke}
      </MenuItem>
    </Menu>
  );
}

const TONES: Record<ReturnType<typeof statusOf>, Tone> = {
  active: 'good',
  rotating: 'accent',
  revoked: 'neutral',
  expired: 'neutral',
};

function KeyStatus({ accessKey, now }: { accessKey: AccessKeyWithCircuit; now: Date }) {
  const { keys: says } = useMessages();
  const formats = useFormats();
  const status = statusOf(accessKey, now);
  const { rotation_expires_at } = accessKey;
  return (
    <>
      <Badge tone={TONES[status]}>{says.statuses[status]}</Badge>
      {status === 'rotating' && rotation_expires_at && (
        <span className="mt-0.5 block text-xs text-muted tabular-nums">
          {says.graceLeft(formats.remaining(rotation_expires_at, now))}
        </span>
      )}
    </>
  );
}
