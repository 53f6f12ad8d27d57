/** The real programs for the tests: Postgres, control, a proxy, and simulated upstreams. */

import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const PROGRAMS = resolve(REPOSITORY, process.env.CARGO_TARGET_DIR ?? 'target', 'debug');
const STACK = join(PROGRAMS, 'stack');

export const CONTROL = join(PROGRAMS, 'claude-code-control');
const START_TIMEOUT_MS = 120_000;

/** What `stack demo` listens on, each somewhere that is free. */
const ADDRESSES = [
  'PROXY_ADMIN_ADDR',
  'PROXY_LISTEN_ADDR',
  'PROXY_OPS_ADDR',
  'PROXY_GRPC_ADDR',
  'PROXY_CONTROL_OPS_ADDR',
  'SIMULATOR_ADDR',
  'SIMULATOR_BEDROCK_ADDR',
] as const;

/** Starts everything, unless `CONSOLE_URL` and `CONSOLE_PASSWORD` name a running console. */
export default async function start() {
  if (process.env.CONSOLE_URL) return;
  const folder = mkdtempSync(join(tmpdir(), 'console-e2e-'));
  const addresses = Object.fromEntries(
    await Promise.all(ADDRESSES.map(async (name) => [name, await freeAddress()] as const)),
  );
  const stack = spawn(STACK, ['demo', '--state', folder], {
    env: { ...process.env, PROXY_TIMEZONE: 'Asia/Seoul', ...addresses },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process.env.CONSOLE_PASSWORD = await password(stack);
  process.env.CONSOLE_URL = `http://${addresses.PROXY_ADMIN_ADDR}`;
  process.env.CONSOLE_STATE = folder;
  // For whoever adds a proxy.
  Object.assign(process.env, addresses);
  return async () => {
    const ended = new Promise((stopped) => stack.once('exit', stopped));
    stack.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
}

/** One more proxy, beside the one of the system that was started here. */
export async function startProxy() {
  const state = process.env.CONSOLE_STATE ?? '';
  const secrets = JSON.parse(readFileSync(join(state, 'secrets.json'), 'utf8')) as Record<
    'key_hasher_secret' | 'sync_token' | 'local_encryption_key',
    string
  >;
  const [listen, ops] = [await freeAddress(), await freeAddress()];
  const proxy = spawn(join(PROGRAMS, 'claude-code-proxy'), {
    env: {
      ...process.env,
      PROXY_LISTEN_ADDR: listen,
      PROXY_OPS_ADDR: ops,
      PROXY_CONTROL_URL: `http://${process.env.PROXY_GRPC_ADDR}`,
      PROXY_PLAN_API_URL: `http://${process.env.SIMULATOR_ADDR}`,
      PROXY_KEY_HASHER_SECRET: secrets.key_hasher_secret,
      PROXY_SYNC_TOKEN: secrets.sync_token,
      PROXY_LOCAL_ENCRYPTION_KEY: secrets.local_encryption_key,
      PROXY_DRAIN_DELAY: '0',
    },
    stdio: 'ignore',
  });
  const ended = new Promise((stopped) => proxy.once('exit', stopped));
  return {
    url: `http://${listen}`,
    isReady: () =>
      fetch(`http://${ops}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      ),
    stop: async () => {
      proxy.kill('SIGTERM');
      await ended;
    },
  };
}

/** Of the Postgres of the system that was started here. */
export function databaseUrl(): string {
  const folder = join(process.env.CONSOLE_STATE ?? '', 'postgres');
  const secret = readFileSync(join(folder, 'password'), 'utf8');
  const port = readFileSync(join(folder, 'data/postmaster.pid'), 'utf8').split('\n')[3];
  return `postgres://postgres:${secret}@127.0.0.1:${port}/claude_code_proxy`;
}

/** Says that all is up, too. */
function password(stack: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = '';
    stack.stdout?.on('data', (piece) => {
      output += String(piece);
      const found = /Password\s+(\S+)/.exec(output)?.[1];
      if (found) resolve(found);
    });
    stack.once('exit', (code) => reject(new Error(`stack ended with ${code}:\n${output}`)));
    setTimeout(
      () => reject(new Error(`stack is not up yet:\n${output}`)),
      START_TIMEOUT_MS,
    ).unref();
  });
}

function freeAddress(): Promise<string> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address
          ? resolve(`127.0.0.1:${address.port}`)
          : reject(new Error('There is no free port.')),
      );
    });
  });
}
