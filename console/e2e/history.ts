/** A company of two dozen developers and a month of their work, always the same. */

import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';

import type { Admin } from './admin';
import { CONTROL, databaseUrl } from './system';

interface Developer {
  name: string;
  description: string;
  monthly_budget_usd: string | null;
  /** Requests on a working day. */
  pace: number;
  onBedrock: boolean;
}

interface Key {
  id: string;
  user_id: string;
}

const DAYS = 40;
const DAY_MS = 86_400_000;

const NAMES =
  'Ada Lovelace,Grace Hopper,Katherine Johnson,Barbara Liskov,Radia Perlman,Frances Allen,Karen Spärck Jones,Margaret Hamilton,Adele Goldberg,Hedy Lamarr,Annie Easley,Mary Jackson,Joan Clarke,Lynn Conway,Sophie Wilson,김하늘,이도윤,박서연,최지우,정민준,CI release pipeline,Nightly code review,Docs bot,Data platform team';

const TEAMS = ['Platform', 'Payments', 'Search', 'Mobile', 'Infrastructure'];
const BUDGETS = ['5.00', null, '4.00', '2.80', '25.00', null];

const MODELS = [
  { model: 'claude-sonnet-5-5', weight: 0.52 },
  { model: 'claude-opus-5-5', weight: 0.22 },
  { model: 'claude-haiku-5-5', weight: 0.2 },
  { model: 'claude-opus-4-7', weight: 0.05 },
  { model: 'qwen.qwen3-coder-480b-a35b-v1:0', weight: 0.01 },
];

/** Mulberry32: small, and the same numbers every time. */
function random(seed: number) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function developers(next: () => number): Developer[] {
  return NAMES.split(',').map((name, index) => ({
    name,
    description: `${TEAMS[index % TEAMS.length]} team`,
    monthly_budget_usd: BUDGETS[index % BUDGETS.length] ?? null,
    pace: 6 + Math.floor(next() * 34),
    onBedrock: index % 6 === 5,
  }));
}

/** Creates users and keys, and puts their past where proxies would have put it. */
export async function makeHistory(admin: Admin, now = new Date()) {
  const next = random(7);
  const lines: string[] = [];
  for (const developer of developers(next)) {
    const key = await hire(admin, developer);
    for (let day = DAYS; day >= 0; day--) lines.push(...work(developer, key, now, day, next));
  }
  execFileSync(CONTROL, ['usage', 'import'], {
    input: lines.join('\n'),
    env: { ...process.env, PROXY_DATABASE_URL: databaseUrl() },
    stdio: ['pipe', 'ignore', 'pipe'],
    maxBuffer: 1 << 26,
  });
}

async function hire(admin: Admin, developer: Developer): Promise<Key> {
  const { name, description, monthly_budget_usd, onBedrock } = developer;
  const user = await admin.send<{ id: string }>('POST', '/admin/users', { name, description });
  const key = await admin.send<Key>('POST', `/admin/users/${user.id}/access-keys`, {
    name: name.includes(' ') ? 'laptop' : null,
  });
  await admin.send('POST', `/admin/access-keys/${key.id}/bedrock-key`, {
    bedrock_api_key: 'bedrock-api-key-of-the-simulator',
    region: 'ap-northeast-2',
  });
  if (monthly_budget_usd) {
    await admin.send('PUT', `/admin/users/${user.id}/budget`, { monthly_budget_usd });
  }
  if (onBedrock) {
    await admin.send('PUT', `/admin/users/${user.id}/routing-strategy`, {
      routing_strategy: 'bedrock_only',
    });
  }
  return key;
}

/** A developer's canonical lines of one day. */
function work(developer: Developer, key: Key, now: Date, daysAgo: number, next: () => number) {
  const midnight = Math.floor((now.getTime() - daysAgo * DAY_MS) / DAY_MS) * DAY_MS;
  const weekday = new Date(midnight).getUTCDay();
  const isFree = weekday === 0 || weekday === 6;
  const count = Math.round(developer.pace * (isFree ? 0.15 : 0.6 + next() * 0.8));
  return Array.from({ length: count }, () => {
    // Busiest around noon.
    const hour = 2 + (next() + next() + next()) * 6;
    return line(developer, key, midnight + hour * 3_600_000, next);
  })
    .filter(({ at }) => at < now.getTime())
    .map(({ text }) => text);
}

function line({ onBedrock }: Developer, key: Key, at: number, next: () => number) {
  let left = next();
  const { model } = MODELS.find(({ weight }) => (left -= weight) < 0) ?? MODELS[0]!;
  const isLimited = !onBedrock && next() < 0.08;
  const isForeign = model.startsWith('qwen');
  const provider = onBedrock || isLimited || isForeign ? 'bedrock' : 'plan';
  const prompt = Math.floor(800 + next() ** 3 * 90_000);
  const cached = next() < 0.82 ? Math.floor(prompt * (0.6 + next() * 0.38)) : 0;
  const fate = next();
  const outcome = fate < 0.955 ? 'complete' : fate < 0.98 ? 'client_cancelled' : 'upstream_failed';
  const duration = Math.floor(1_500 + next() * 28_000);
  const text = JSON.stringify({
    timestamp: new Date(at + duration).toISOString(),
    level: 'INFO',
    message: 'request',
    event_id: randomUUID(),
    request_id: `req_${randomUUID().replaceAll('-', '')}`,
    upstream_request_id: '',
    endpoint: 'messages',
    access_key_id: key.id,
    user_id: key.user_id,
    started_at: new Date(at).toISOString(),
    duration_ms: duration,
    first_byte_ms: Math.floor(300 + next() * 1_200),
    provider,
    is_fallback: provider === 'bedrock' && !onBedrock,
    model,
    upstream_model: provider === 'plan' || isForeign ? model : `global.anthropic.${model}`,
    outcome,
    status: outcome === 'upstream_failed' ? 529 : 200,
    is_streaming: true,
    input_tokens: Math.floor((prompt - cached) * 0.3),
    output_tokens: Math.floor(150 + next() ** 2 * 4_200),
    cache_read_tokens: cached,
    cache_write_5m_tokens: Math.floor((prompt - cached) * 0.7),
    cache_write_1h_tokens: 0,
    is_estimate: outcome === 'client_cancelled',
  });
  return { at, text };
}
