/** What developers paste to use a key. Their terms are Claude Code's, not ours. */

import type { RoutingStrategy } from '@/api/schema';

interface Lines {
  shell: string;
  settings: string;
  statusSettings: string;
  githubSecret: string;
  githubWorkflow: string;
}

interface Use {
  base_url: string;
  routing_strategy: RoutingStrategy;
  /** Null: Claude Code's own choice. */
  model: string | null;
}

/** Something has to be set, or Claude Code asks for a login that nobody needs. */
const NO_LOGIN = 'none';

const json = (value: object) => JSON.stringify(value, null, 2);

export const baseUrl = (public_url: string, raw_key: string) =>
  `${public_url.replace(/\/+$/, '')}/ak/${raw_key}`;

export function linesFor({ base_url, routing_strategy, model }: Use): Lines {
  const isBedrockOnly = routing_strategy === 'bedrock_only';
  const variables = {
    ANTHROPIC_BASE_URL: base_url,
    ...(isBedrockOnly && { ANTHROPIC_AUTH_TOKEN: NO_LOGIN }),
    ...(model && { ANTHROPIC_MODEL: model }),
  };
  const exports = Object.entries(variables).map(([name, value]) => `export ${name}=${value}`);
  return {
    shell: exports.join('\n'),
    settings: json({ env: variables }),
    statusSettings: json({ statusLine: { type: 'command', command: '~/.claude/status-line' } }),
    githubSecret: `gh secret set ANTHROPIC_BASE_URL --body ${base_url}`,
    githubWorkflow: [
      '- uses: anthropics/claude-code-action@v1',
      '  env:',
      '    ANTHROPIC_BASE_URL: ${{ secrets.ANTHROPIC_BASE_URL }}',
      ...(model ? [`    ANTHROPIC_MODEL: ${model}`] : []),
      '  with:',
      isBedrockOnly
        ? `    anthropic_api_key: ${NO_LOGIN}`
        : '    claude_code_oauth_token: ${{ secrets.CLAUDE_CODE_OAUTH_TOKEN }}',
    ].join('\n'),
  };
}
