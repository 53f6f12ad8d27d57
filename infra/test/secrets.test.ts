import { expect, test } from 'vitest';

import { properties, template } from './synthesised.ts';

interface Secret {
  readonly Name: string;
  readonly KmsKeyId?: unknown;
  readonly SecretString?: string;
  readonly GenerateSecretString: { readonly PasswordLength: number };
}

const names = (context = {}) =>
  properties<Secret>(template('Secrets', context), 'AWS::SecretsManager::Secret')
    .map((it) => it.Name)
    .sort();

test('there is a secret for every variable that names one', () => {
  expect(names()).toEqual([
    'claude-code-proxy/admin-credentials',
    'claude-code-proxy/jwt-secret',
    'claude-code-proxy/key-hasher-secret',
    'claude-code-proxy/sync-token',
  ]);
  expect(names({ budget_webhook_url: 'https://example.com/alerts' })).toContain(
    'claude-code-proxy/budget-webhook-secret',
  );
});

test('no value is in the template, and all lie under our key', () => {
  const secrets = properties<Secret>(template('Secrets'), 'AWS::SecretsManager::Secret');
  for (const secret of secrets) {
    expect(secret.SecretString).toBeUndefined();
    expect(secret.KmsKeyId).toBeDefined();
    expect(secret.GenerateSecretString.PasswordLength).toBe(64);
  }
});

test('the administrator has the name and the form that control reads', () => {
  template('Secrets').hasResourceProperties('AWS::SecretsManager::Secret', {
    Name: 'claude-code-proxy/admin-credentials',
    GenerateSecretString: {
      SecretStringTemplate: '{"username":"admin"}',
      GenerateStringKey: 'password',
    },
  });
});

test('the key is rotated; in production it and what cannot be made anew are kept', () => {
  for (const [environment, policy] of [
    ['dev', 'Delete'],
    ['prod', 'Retain'],
  ]) {
    const secrets = template('Secrets', { environment });
    secrets.hasResourceProperties('AWS::KMS::Key', { EnableKeyRotation: true });
    secrets.hasResourceProperties('AWS::KMS::Alias', { AliasName: 'alias/claude-code-proxy' });
    secrets.allResources('AWS::KMS::Key', { DeletionPolicy: policy });
    secrets.allResources('AWS::SecretsManager::Secret', { DeletionPolicy: policy });
  }
});
