import { hash, randomBytes } from 'node:crypto'
import type { LaunchTokens } from '../../core/broker.ts'
import type { JsonObject } from '../../core/json.ts'
import type { RecordStore, StoredRecord } from '../../core/record-store.ts'
import type { RecordAct } from '../issuance.ts'
import { numberOf, present, textOf, textsOf } from './record-values.ts'
import { isWithin } from './rules.ts'

/** A launch token as it is kept, under its SHA-256. */
export interface KeptLaunchToken {
  /** SHA-256 of the token, hexadecimal: what audit names it by. */
  readonly id: string
  readonly agentName: string
  readonly allowedScope: readonly string[]
  /** Seconds. */
  readonly maxTtl: number
  readonly singleUse: boolean
  /** Seconds since the epoch. */
  readonly expiresAt: number
  /** The app whose it is; undefined: an admin's. */
  readonly app: string | undefined
  readonly used: boolean
}

/** One that was found, and how it is taken. */
export interface FoundLaunchToken {
  readonly kept: KeptLaunchToken
  /** Takes it for one registration: of several at once, on whichever replica, one is told true. @throws {Unavailable} */
  readonly consume: () => Promise<boolean>
}

export interface LaunchTokensNeeds {
  readonly records: Pick<RecordStore, 'read' | 'write'>
  readonly record: RecordAct
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** Told of each that was made. */
  readonly onCreated: () => void
}

export interface LaunchTokenRegister extends LaunchTokens {
  /** @throws {Unavailable} */
  readonly find: (token: string) => Promise<FoundLaunchToken | undefined>
}

const tokenBytes = 32
const shape = /^[0-9a-f]{64}$/
/** Seconds that one is kept after its end, so that who still presents it is named in the trail. */
const keptAfter = 60

function read({ id, value }: StoredRecord): KeptLaunchToken | undefined {
  const [allowedScope, maxTtl, expiresAt] = [textsOf(value['allowed_scope']), numberOf(value['max_ttl']), numberOf(value['expires_at'])]
  if (allowedScope === undefined || maxTtl === undefined || expiresAt === undefined) return undefined
  return {
    id,
    agentName: textOf(value['agent_name']) ?? '',
    allowedScope,
    maxTtl,
    // What is not plainly for several is for one.
    singleUse: value['single_use'] !== false,
    expiresAt,
    app: textOf(value['app']),
    used: value['used'] !== false,
  }
}

const write = ({ agentName, allowedScope, maxTtl, singleUse, expiresAt, app, used }: Omit<KeptLaunchToken, 'id'>): JsonObject =>
  present({
    agent_name: agentName,
    allowed_scope: [...allowedScope],
    max_ttl: maxTtl,
    single_use: singleUse,
    expires_at: expiresAt,
    app,
    used,
  })

/** Launch tokens: 32 random bytes, of which only the SHA-256 is kept. */
export function createLaunchTokens({ records, record, clock, onCreated }: LaunchTokensNeeds): LaunchTokenRegister {
  return {
    create: async (order, actor, app) => {
      const { agentName, allowedScope, maxTtl, singleUse, ttl } = order
      const detail = { agent_name: agentName, allowed_scope: [...allowedScope], max_ttl: maxTtl, single_use: singleUse, ttl }
      if (app && !isWithin(app.scopes, allowedScope)) {
        await record({ type: 'launch_token_created', outcome: 'failure', reason: 'scope_outside_ceiling', actor, detail })
        return undefined
      }
      const token = randomBytes(tokenBytes).toString('hex')
      const id = hash('sha256', token)
      const expiresAt = Math.floor(clock() / 1000) + ttl
      const value = write({ agentName, allowedScope, maxTtl, singleUse, expiresAt, app: app?.id, used: false })
      await records.write('launch-token', { id, value, until: expiresAt + keptAfter }, undefined)
      await record({ type: 'launch_token_created', outcome: 'success', actor, target: id, detail })
      onCreated()
      return { token, expiresAt }
    },
    find: async (token) => {
      if (!shape.test(token)) return undefined
      const stored = await records.read('launch-token', hash('sha256', token))
      const kept = stored && read(stored)
      if (!stored || !kept) return undefined
      const { id, until, revision } = stored
      return {
        kept,
        consume: async () =>
          !kept.singleUse ||
          (await records.write('launch-token', { id, value: write({ ...kept, used: true }), until }, revision)) !== undefined,
      }
    },
  }
}
