import { DatabaseSync } from 'node:sqlite'

/**
 * What each version of the program made of a file of the version before it, as it was released: never changed again, for
 * there are files that were made so.
 */
export const oldSteps: readonly string[] = [
  // 1
  `
CREATE TABLE labels (realm TEXT NOT NULL, resource TEXT NOT NULL, id TEXT NOT NULL, labels TEXT NOT NULL,
  PRIMARY KEY (realm, resource, id)) WITHOUT ROWID;
CREATE TABLE revocations (realm TEXT NOT NULL, level TEXT NOT NULL, target TEXT NOT NULL, at REAL NOT NULL, until REAL NOT NULL,
  PRIMARY KEY (realm, level, target, at)) WITHOUT ROWID;
CREATE INDEX revocations_until ON revocations (until);
CREATE TABLE keys (realm TEXT NOT NULL, kid TEXT NOT NULL, algorithm TEXT NOT NULL, created_at REAL NOT NULL, active_at REAL NOT NULL,
  retired_at REAL, private_key TEXT NOT NULL, PRIMARY KEY (realm, kid)) WITHOUT ROWID;
CREATE TABLE audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, realm TEXT NOT NULL, id TEXT NOT NULL, event TEXT NOT NULL);
CREATE UNIQUE INDEX audit_id ON audit (realm, id);
CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, realm TEXT NOT NULL, kind TEXT NOT NULL, resource TEXT, id TEXT);
CREATE TRIGGER labels_insert AFTER INSERT ON labels BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (NEW.realm, 'label', NEW.resource, NEW.id); END;
CREATE TRIGGER labels_update AFTER UPDATE ON labels BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (NEW.realm, 'label', NEW.resource, NEW.id); END;
CREATE TRIGGER labels_delete AFTER DELETE ON labels BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (OLD.realm, 'label', OLD.resource, OLD.id); END;
CREATE TRIGGER revocations_insert AFTER INSERT ON revocations BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (NEW.realm, 'revocations', NULL, NULL); END;
CREATE TRIGGER revocations_update AFTER UPDATE ON revocations BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (NEW.realm, 'revocations', NULL, NULL); END;
CREATE TRIGGER keys_insert AFTER INSERT ON keys BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (NEW.realm, 'keys', NULL, NULL); END;
CREATE TRIGGER keys_update AFTER UPDATE ON keys BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (NEW.realm, 'keys', NULL, NULL); END;
CREATE TRIGGER keys_delete AFTER DELETE ON keys BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (OLD.realm, 'keys', NULL, NULL); END;
`,
  // 2
  `
DROP TRIGGER revocations_insert;
DROP TRIGGER revocations_update;
DROP INDEX revocations_until;
ALTER TABLE revocations RENAME TO revocations_1;
CREATE TABLE revocations (seq INTEGER PRIMARY KEY AUTOINCREMENT, realm TEXT NOT NULL, level TEXT NOT NULL, target TEXT NOT NULL,
  at REAL NOT NULL, until REAL NOT NULL, UNIQUE (realm, level, target, at));
INSERT INTO revocations (realm, level, target, at, until) SELECT realm, level, target, at, until FROM revocations_1;
DROP TABLE revocations_1;
CREATE INDEX revocations_until ON revocations (until);
CREATE INDEX revocations_new ON revocations (realm, seq);
CREATE TRIGGER revocations_insert AFTER INSERT ON revocations BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (NEW.realm, 'revocations', NULL, NULL); END;
CREATE TRIGGER revocations_update AFTER UPDATE ON revocations BEGIN
  DELETE FROM revocations WHERE seq = NEW.seq;
  INSERT INTO revocations (realm, level, target, at, until) VALUES (NEW.realm, NEW.level, NEW.target, NEW.at, NEW.until); END;
CREATE INDEX audit_new ON audit (realm, seq);
CREATE TABLE audit_decisions (seq INTEGER PRIMARY KEY AUTOINCREMENT, realm TEXT NOT NULL, id TEXT NOT NULL, event TEXT NOT NULL);
CREATE UNIQUE INDEX audit_decisions_id ON audit_decisions (realm, id);
CREATE INDEX audit_decisions_new ON audit_decisions (realm, seq);
INSERT INTO audit_decisions (realm, id, event) SELECT realm, id, event FROM audit WHERE CASE WHEN json_valid(event) THEN event ->> 'type' END = 'decision' ORDER BY seq;
DELETE FROM audit WHERE CASE WHEN json_valid(event) THEN event ->> 'type' END = 'decision';
CREATE TRIGGER audit_decisions_update BEFORE UPDATE ON audit_decisions
  BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
`,
  // 3
  `
CREATE TABLE api_keys (seq INTEGER PRIMARY KEY AUTOINCREMENT, realm TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL,
  validator TEXT NOT NULL, name TEXT NOT NULL, owner TEXT NOT NULL, roles TEXT NOT NULL, scopes TEXT NOT NULL,
  created_at REAL NOT NULL, created_by TEXT NOT NULL, expires_at REAL, revoked_at REAL, UNIQUE (realm, id));
CREATE INDEX api_keys_new ON api_keys (realm, seq);
CREATE TRIGGER api_keys_insert AFTER INSERT ON api_keys BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (NEW.realm, 'api-keys', NULL, NULL); END;
CREATE TRIGGER api_keys_update AFTER UPDATE ON api_keys BEGIN
  DELETE FROM api_keys WHERE seq = NEW.seq;
  INSERT INTO api_keys (realm, id, digest, validator, name, owner, roles, scopes, created_at, created_by, expires_at, revoked_at)
    VALUES (NEW.realm, NEW.id, NEW.digest, NEW.validator, NEW.name, NEW.owner, NEW.roles, NEW.scopes, NEW.created_at,
      NEW.created_by, NEW.expires_at, NEW.revoked_at); END;
CREATE TABLE api_keys_used (realm TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (realm, id)) WITHOUT ROWID;
`,
  // 4
  `
CREATE TABLE replays (realm TEXT NOT NULL, key TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (realm, key)) WITHOUT ROWID;
CREATE INDEX replays_until ON replays (until);
CREATE TABLE secrets (realm TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (realm, name)) WITHOUT ROWID;
`,
  // 5
  `
CREATE TABLE records (realm TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL, until REAL NOT NULL,
  revision TEXT NOT NULL, PRIMARY KEY (realm, kind, id)) WITHOUT ROWID;
CREATE INDEX records_until ON records (realm, kind, until) WHERE until > 0;
`,
  // 6
  `
ALTER TABLE keys ADD COLUMN keep_for REAL;
`,
]

/** Makes a file of an old schema version, and puts something into it. */
export function makeOld(path: string, version: number, fill: (database: DatabaseSync) => void): void {
  const database = new DatabaseSync(path)
  try {
    database.exec('PRAGMA journal_mode = WAL')
    for (const step of oldSteps.slice(0, version)) database.exec(step)
    database.exec(`PRAGMA application_id = 1886614638; PRAGMA user_version = ${version};`)
    fill(database)
  } finally {
    database.close()
  }
}
