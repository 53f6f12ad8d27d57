import { expect, test } from 'vitest';

import { baseUrl, linesFor } from './lines';

const base_url = baseUrl('https://proxy.example.com/', 'ak_1');

test('the key is in the path', () => {
  expect(base_url).toBe('https://proxy.example.com/ak/ak_1');
});

test('with the plan first, nothing stands in the way of the developer’s own login', () => {
  const lines = linesFor({ base_url, routing_strategy: 'plan_first', model: null });
  expect(lines.shell).toBe('export ANTHROPIC_BASE_URL=https://proxy.example.com/ak/ak_1');
  expect(JSON.parse(lines.settings)).toEqual({ env: { ANTHROPIC_BASE_URL: base_url } });
  expect(lines.githubWorkflow).toContain('claude_code_oauth_token');
  expect(JSON.stringify(lines)).not.toMatch(/ANTHROPIC_AUTH_TOKEN|anthropic_api_key/);
});

test('what may be kept in ~/.zshrc starts nothing', () => {
  for (const model of [null, 'claude-opus-5-5']) {
    const { shell } = linesFor({ base_url, routing_strategy: 'bedrock_only', model });
    for (const line of shell.split('\n')) expect(line).toMatch(/^export ANTHROPIC_\w+=\S+$/);
  }
});

test('with Bedrock only, no login is asked for', () => {
  const lines = linesFor({ base_url, routing_strategy: 'bedrock_only', model: 'claude-opus-5-5' });
  expect(lines.shell).toContain('export ANTHROPIC_AUTH_TOKEN=none\n');
  expect(JSON.parse(lines.settings)).toEqual({
    env: {
      ANTHROPIC_BASE_URL: base_url,
      ANTHROPIC_AUTH_TOKEN: 'none',
      ANTHROPIC_MODEL: 'claude-opus-5-5',
    },
  });
  expect(lines.githubWorkflow).not.toContain('claude_code_oauth_token');
});
