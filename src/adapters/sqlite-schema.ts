/** Marks a file as ours (`PRAGMA application_id`): "pstn". */
export const applicationId = 0x7073746e

// `changes` is fed by triggers, so that a row written by any other hand (the sqlite3 shell too) is told alike.
const changed = (table: string, kind: string, when: 'INSERT' | 'UPDATE' | 'DELETE', resource = 'NULL', id = 'NULL') => {
  const row = when === 'DELETE' ? 'OLD' : 'NEW'
  return `CREATE TRIGGER ${table}_${when.toLowerCase()} AFTER ${when} ON ${table} BEGIN
    INSERT INTO changes (realm, kind, resource, id) VALUES (${row}.realm, '${kind}', ${resource}, ${id}); END;`
}

const version1 = `
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
${changed('labels', 'label', 'INSERT', 'NEW.resource', 'NEW.id')}
${changed('labels', 'label', 'UPDATE', 'NEW.resource', 'NEW.id')}
${changed('labels', 'label', 'DELETE', 'OLD.resource', 'OLD.id')}
${changed('revocations', 'revocations', 'INSERT')}
${changed('revocations', 'revocations', 'UPDATE')}
${changed('keys', 'keys', 'INSERT')}
${changed('keys', 'keys', 'UPDATE')}
${changed('keys', 'keys', 'DELETE')}
`

const movedDecisions = `CASE WHEN json_valid(event) THEN event ->> 'type' END = 'decision'`

// Revocations get a number that only grows, by which what is new is found; a row that is changed by whatever hand gets a
// new one. Decisions leave the table `audit`, for they are bounded and its other events are not.
const version2 = `
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
${changed('revocations', 'revocations', 'INSERT')}
CREATE TRIGGER revocations_update AFTER UPDATE ON revocations BEGIN
  DELETE FROM revocations WHERE seq = NEW.seq;
  INSERT INTO revocations (realm, level, target, at, until) VALUES (NEW.realm, NEW.level, NEW.target, NEW.at, NEW.until); END;
CREATE INDEX audit_new ON audit (realm, seq);
CREATE TABLE audit_decisions (seq INTEGER PRIMARY KEY AUTOINCREMENT, realm TEXT NOT NULL, id TEXT NOT NULL, event TEXT NOT NULL);
CREATE UNIQUE INDEX audit_decisions_id ON audit_decisions (realm, id);
CREATE INDEX audit_decisions_new ON audit_decisions (realm, seq);
INSERT INTO audit_decisions (realm, id, event) SELECT realm, id, event FROM audit WHERE ${movedDecisions} ORDER BY seq;
DELETE FROM audit WHERE ${movedDecisions};
CREATE TRIGGER audit_decisions_update BEFORE UPDATE ON audit_decisions
  BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
`

// As revocations: a key that is changed, by whatever hand, gets a new number.
const version3 = `
CREATE TABLE api_keys (seq INTEGER PRIMARY KEY AUTOINCREMENT, realm TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL,
  validator TEXT NOT NULL, name TEXT NOT NULL, owner TEXT NOT NULL, roles TEXT NOT NULL, scopes TEXT NOT NULL,
  created_at REAL NOT NULL, created_by TEXT NOT NULL, expires_at REAL, revoked_at REAL, UNIQUE (realm, id));
CREATE INDEX api_keys_new ON api_keys (realm, seq);
${changed('api_keys', 'api-keys', 'INSERT')}
CREATE TRIGGER api_keys_update AFTER UPDATE ON api_keys BEGIN
  DELETE FROM api_keys WHERE seq = NEW.seq;
  INSERT INTO api_keys (realm, id, digest, validator, name, owner, roles, scopes, created_at, created_by, expires_at, revoked_at)
    VALUES (NEW.realm, NEW.id, NEW.digest, NEW.validator, NEW.name, NEW.owner, NEW.roles, NEW.scopes, NEW.created_at,
      NEW.created_by, NEW.expires_at, NEW.revoked_at); END;
CREATE TABLE api_keys_used (realm TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (realm, id)) WITHOUT ROWID;
`

// Proofs of possession that were seen, and secrets that replicas share: nobody keeps them near, so no change of them is told.
const version4 = `
CREATE TABLE replays (realm TEXT NOT NULL, key TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (realm, key)) WITHOUT ROWID;
CREATE INDEX replays_until ON replays (until);
CREATE TABLE secrets (realm TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (realm, name)) WITHOUT ROWID;
`

// What the issuer remembers: read from state by whoever needs it, so no change of it is told.
const version5 = `
CREATE TABLE records (realm TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL, until REAL NOT NULL,
  revision TEXT NOT NULL, PRIMARY KEY (realm, kind, id)) WITHOUT ROWID;
CREATE INDEX records_until ON records (realm, kind, until) WHERE until > 0;
`

// How long a signing key stays after it signed last.
const version6 = 'ALTER TABLE keys ADD COLUMN keep_for REAL;'

/** What leads from each version to the next; a new file takes every step. */
export const steps: readonly string[] = [version1, version2, version3, version4, version5, version6]
/** `PRAGMA user_version` that this code reads and writes. */
export const schemaVersion = steps.length
