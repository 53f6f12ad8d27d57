import { expect, test } from 'vitest';

import { template } from './synthesised.ts';

const CLUSTER = 'AWS::RDS::DBCluster';

test('it is encrypted, in two zones, and backed up for a week', () => {
  for (const environment of ['dev', 'prod']) {
    const database = template('Database', { environment });
    database.hasResourceProperties(CLUSTER, {
      Engine: 'aurora-postgresql',
      EngineVersion: '17.4',
      StorageEncrypted: true,
      BackupRetentionPeriod: 7,
      PreferredBackupWindow: '03:00-04:00',
    });
    database.resourcePropertiesCountIs(
      'AWS::RDS::DBInstance',
      { DBInstanceClass: 'db.serverless', PubliclyAccessible: false },
      2,
    );
  }
});

test('nobody speaks to it in clear', () => {
  template('Database').hasResourceProperties('AWS::RDS::DBClusterParameterGroup', {
    Parameters: { 'rds.force_ssl': '1' },
  });
});

test('production cannot be deleted by mistake; dev leaves nothing that has lost its key', () => {
  const prod = template('Database', { environment: 'prod' });
  prod.hasResource(CLUSTER, { DeletionPolicy: 'Retain', Properties: { DeletionProtection: true } });
  const dev = template('Database');
  dev.hasResource(CLUSTER, {
    DeletionPolicy: 'Delete',
    Properties: { DeletionProtection: false },
  });
  template('Secrets').hasResource('AWS::KMS::Key', { DeletionPolicy: 'Delete' });
});

test('it has fixed names, so that a restored one can take its place', () => {
  const database = template('Database');
  database.hasResourceProperties(CLUSTER, {
    DBClusterIdentifier: 'claude-code-proxy',
    DatabaseName: 'proxy',
  });
  for (const role of ['writer', 'reader']) {
    database.hasResourceProperties('AWS::RDS::DBInstance', {
      DBInstanceIdentifier: `claude-code-proxy-${role}`,
    });
  }
});

test('its secret is completed with the address, which control needs', () => {
  const attachments = template('Database').findResources(
    'AWS::SecretsManager::SecretTargetAttachment',
  );
  expect(Object.values(attachments)).toHaveLength(1);
});
