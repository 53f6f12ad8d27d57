import { readdirSync } from 'node:fs';

import js from '@eslint/js';
import jsxA11y from 'eslint-plugin-jsx-a11y';
import reactHooks from 'eslint-plugin-react-hooks';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** What nobody below the app may import, and what features may not import of each other. */
const below = (folder, ...forbidden) => ({
  files: [`src/${folder}/**`],
  rules: { 'no-restricted-imports': ['error', { patterns: [{ group: forbidden }] }] },
});

// Every page stands in its zone and behind its session; every key is a user's.
const FOR_ALL_FEATURES = ['settings'];

const features = readdirSync('src/features');
const others = (feature) =>
  features
    .filter((other) => other !== feature && !FOR_ALL_FEATURES.includes(other))
    .map((other) => `@/features/${other}/**`);

export default defineConfig(
  globalIgnores(['dist', 'src/api/schema.ts', 'test-results', 'playwright-report']),
  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  reactHooks.configs.flat['recommended-latest'],
  jsxA11y.flatConfigs.strict,
  {
    languageOptions: { parserOptions: { projectService: true } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'no-console': 'error',
      '@typescript-eslint/no-empty-function': 'off',
      // Our access keys are no keys of a keyboard.
      'jsx-a11y/no-access-key': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { ignoreRestSiblings: true, varsIgnorePattern: '^_' },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  below('components', '@/app/**', '@/features/**'),
  below('formats', '@/app/**', '@/features/**', '@/components/**'),
  below('api', '@/app/**', '@/features/**', '@/components/**'),
  ...features.map((feature) => below(`features/${feature}`, '@/app/**', ...others(feature))),
  {
    files: ['*.config.*', 'scripts/**', 'public/**'],
    extends: [tseslint.configs.disableTypeChecked],
  },
  {
    files: ['e2e/**'],
    // Playwright's fixtures have their own `use`, and take what they need by name.
    rules: { 'react-hooks/rules-of-hooks': 'off', 'no-empty-pattern': 'off' },
  },
  {
    files: ['scripts/**'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', Buffer: 'readonly', URL: 'readonly' },
    },
    rules: { 'no-console': 'off' },
  },
  {
    files: ['public/**'],
    languageOptions: {
      globals: { localStorage: 'readonly', matchMedia: 'readonly', document: 'readonly' },
    },
  },
);
