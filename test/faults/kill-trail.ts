import { DatabaseSync } from 'node:sqlite'
import type { Redis } from 'ioredis'
import { createVerification, type VerificationResult } from '../../src/core/audit-verify.ts'
import { isJsonObject, readJsonObject } from '../../src/core/json.ts'
import type { Acknowledged } from './kill-load.ts'

/** What a state holds, read past every driver of ours. */
export interface Kept {
  /** Targets of revocations. */
  readonly revoked: ReadonlySet<string>
  /** Ids of the records of apps. */
  readonly apps: ReadonlySet<string>
  /** id → whether it is revoked. */
  readonly apiKeys: ReadonlyMap<string, boolean>
  /** `type target` of the events that are not decisions, and `type target owner` of an owner. */
  readonly events: ReadonlySet<string>
  /** Lines that are no event. */
  readonly torn: number
  readonly verification: VerificationResult
}

interface Lines {
  readonly revoked: readonly string[]
  readonly apps: readonly string[]
  readonly apiKeys: readonly (readonly [id: string, revoked: boolean])[]
  readonly events: readonly string[]
  readonly decisions: readonly string[]
}

/** @param path of a state file that a service may have open */
export function readFile(path: string): Kept {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    const texts = (table: string) =>
      database
        .prepare(`SELECT event FROM ${table} ORDER BY seq`)
        .all()
        .map(({ event }) => String(event))
    const apiKeys = database.prepare('SELECT id, revoked_at FROM api_keys').all()
    return judged({
      revoked: database
        .prepare('SELECT target FROM revocations')
        .all()
        .map(({ target }) => String(target)),
      apps: database
        .prepare("SELECT id FROM records WHERE kind = 'app'")
        .all()
        .map(({ id }) => String(id)),
      apiKeys: apiKeys.map(({ id, revoked_at }) => [String(id), revoked_at !== null]),
      events: texts('audit'),
      decisions: texts('audit_decisions'),
    })
  } finally {
    database.close()
  }
}

/** @param redis a client without any of our settings */
export async function readRedis(redis: Redis, realm: string): Promise<Kept> {
  const entries = async (key: string) => (await redis.xrange(`postern:${realm}:${key}`, '-', '+')).map(([, fields]) => fields)
  const value = (fields: readonly string[], name: string) => fields[fields.indexOf(name) + 1] ?? ''
  const keys = (await entries('api-keys')).map((fields) => readJsonObject(value(fields, 'key')) ?? {})
  return judged({
    revoked: (await entries('revocations')).map((fields) => value(fields, 'target')),
    apps: await redis.hkeys(`postern:${realm}:records:app`),
    apiKeys: keys.map((key) => [String(key['id']), key['revokedAt'] !== undefined]),
    events: (await entries('audit')).map((fields) => value(fields, 'event')),
    decisions: (await entries('audit:decisions')).map((fields) => value(fields, 'event')),
  })
}

function judged({ revoked, apps, apiKeys, events, decisions }: Lines): Kept {
  const verification = createVerification()
  const found = new Set<string>()
  let torn = 0
  for (const text of events) {
    verification.take('events', text)
    const event = readJsonObject(text)
    if (event === undefined) torn += 1
    else {
      const { type, target, detail } = event
      found.add(`${type} ${target}`)
      if (type === 'owner_changed' && isJsonObject(detail)) found.add(`${type} ${target} ${detail['after']}`)
    }
  }
  for (const text of decisions) verification.take('decisions', text)
  const keys = new Map<string, boolean>()
  for (const [id, gone] of apiKeys) keys.set(id, gone || keys.get(id) === true)
  return { revoked: new Set(revoked), apps: new Set(apps), apiKeys: keys, events: found, torn, verification: verification.finish() }
}

/** What was acknowledged and is not there. */
export function missing(known: Acknowledged, kept: Kept): string[] {
  const gone: string[] = []
  const event = (type: string, target: string) => {
    if (!kept.events.has(`${type} ${target}`)) gone.push(`event ${type} ${target}`)
  }
  for (const jti of known.tokens.keys()) event('token_issued', jti)
  for (const target of known.revoked) {
    if (!kept.revoked.has(target)) gone.push(`revocation ${target}`)
    event('token_revoked', target)
  }
  for (const id of known.apiKeys.keys()) {
    if (!kept.apiKeys.has(id)) gone.push(`API key ${id}`)
    event('api_key_created', id)
  }
  for (const id of known.revokedKeys) {
    if (kept.apiKeys.get(id) !== true) gone.push(`revocation of API key ${id}`)
    event('api_key_revoked', id)
  }
  for (const [id, fate] of known.apps) {
    if (fate === 'there' && !kept.apps.has(id)) gone.push(`app ${id}`)
    if (fate === 'gone' && kept.apps.has(id)) gone.push(`removal of app ${id}`)
    event('app_created', id)
    if (fate === 'gone') event('app_removed', id)
  }
  for (const owned of known.owned) event('owner_changed', `sandbox:${owned}`)
  return gone
}
