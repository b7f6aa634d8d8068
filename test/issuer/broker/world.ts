import { randomBytes } from 'node:crypto'
import { openMemoryState } from '../../../src/adapters/memory-state.ts'
import type { AuditEvent } from '../../../src/core/audit-event.ts'
import type { OwnToken } from '../../../src/core/issuer.ts'
import type { Revocation, State } from '../../../src/core/ports.ts'
import { createAgents } from '../../../src/issuer/broker/agents.ts'
import { loggingIn } from '../../../src/issuer/broker/app-login.ts'
import { createApps } from '../../../src/issuer/broker/apps.ts'
import { delegating } from '../../../src/issuer/broker/delegation.ts'
import { createLaunchTokens } from '../../../src/issuer/broker/launch-tokens.ts'
import { createNonces } from '../../../src/issuer/broker/nonces.ts'
import { readingPresented } from '../../../src/issuer/broker/presented.ts'
import { type Registration, registering } from '../../../src/issuer/broker/register.ts'
import { createRenewal } from '../../../src/issuer/broker/renewal.ts'
import type { BrokerRules } from '../../../src/issuer/broker/rules.ts'
import { sweeping } from '../../../src/issuer/broker/sweep.ts'
import { issuing, recordingActs } from '../../../src/issuer/issuance.ts'
import { openKeyRing } from '../../../src/issuer/key-ring.ts'
import { createMint } from '../../../src/issuer/mint.ts'
import { ownTokens } from '../../../src/issuer/own-token.ts'
import { agentKeys } from '../../support/broker.ts'

export const issuerUrl = 'http://127.0.0.1:9193'

/** What is the same in every replica. */
export const sharedSecret = randomBytes(32)

/** The broker's parts over one handle of a state, with a clock of their own. */
export async function openWorld(given?: { state?: State; rules?: Partial<BrokerRules>; secret?: Uint8Array }) {
  const state = given?.state ?? (await openMemoryState({ realm: 'default' }))
  const ring = await openKeyRing({
    store: state.keys,
    feed: state.feed,
    publishBeforeMs: 900_000,
    rotateEveryMs: 86_400_000,
    keepForMs: 600_000,
  })
  const at = { ms: Date.now() }
  const clock = () => at.ms
  const rules = {
    trustDomain: 'agents.test',
    audience: 'postern',
    defaultTtl: 300,
    maxTtl: 86_400,
    appTokenTtl: 1800,
    idleAfter: 3600,
    roles: ['agent'],
    ...given?.rules,
  }
  const events: Omit<AuditEvent, 'id' | 'time' | 'realm'>[] = []
  const counts = { registrations: { success: 0, failure: 0 }, launchTokens: 0, skews: 0, released: 0 }
  const revocations: Revocation[] = []
  let n = 0
  const committed = recordingActs({ audit: state.audit, newId: () => `event-${process.pid}-${++n}`, realm: 'default', clock })
  const record: typeof committed = async (act) => {
    await committed(act)
    events.push(act)
  }
  const { records } = state
  const mint = createMint({ issuer: issuerUrl, signer: ring, adminAudience: 'postern-admin' })
  const issue = issuing({ mint, records, record, onIssued: () => {} })
  const verify = ownTokens({ issuer: issuerUrl, keys: ring })
  const revoke = async (revocation: Revocation) => void revocations.push(revocation)
  const isRevoked = (token: OwnToken) =>
    revocations.some(({ level, target }) => (level === 'token' ? token.id === target : level === 'agent' && token.subject === target))
  const onClockSkew = () => void counts.skews++
  const nonces = createNonces(() => given?.secret ?? sharedSecret, 'default')
  const apps = createApps({ records, record, clock })
  const launchTokens = createLaunchTokens({ records, record, clock, onCreated: () => void counts.launchTokens++ })
  const agents = createAgents(records, (id) => revocations.some(({ level, target }) => level !== 'token' && target === id))
  const register = registering({
    rules: () => rules,
    apps,
    launchTokens,
    agents,
    nonces,
    replays: state.replays,
    issue,
    record,
    onClockSkew,
    onRegistration: (status) => void counts.registrations[status]++,
  })
  const renewal = createRenewal({
    rules: () => rules,
    apps,
    agents,
    records,
    replays: state.replays,
    issue,
    record,
    revoke,
    onReleased: () => void counts.released++,
  })
  const present = readingPresented({ verify, isRevoked, onClockSkew })
  const delegate = delegating({ rules: () => rules, agents, issue, record })

  /** What an agent sends, everything about it right. */
  const registration = (launchToken: string, change: Partial<Registration> = {}, keys = agentKeys()): Registration => {
    const nonce = change.nonce ?? nonces.make(at.ms)
    return {
      launchToken,
      nonce,
      publicKey: keys.publicKey,
      signature: keys.sign(nonce),
      orchestration: 'orch-1',
      task: 'task-1',
      scopes: ['read:data:x'],
      ttl: undefined,
      ...change,
    }
  }
  const launch = async (change: Partial<Parameters<typeof launchTokens.create>[0]> = {}): Promise<string> => {
    const order = { agentName: 'tester', allowedScope: ['read:data:*'], maxTtl: 600, singleUse: true, ttl: 30, ...change }
    return (await launchTokens.create(order, 'admin'))!.token
  }
  const edge = { kind: 'edge', audience: 'postern' } as const
  const read = (token: string) => present(token, edge, at.ms)
  return {
    state,
    at,
    rules,
    events,
    counts,
    revocations,
    nonces,
    apps,
    launchTokens,
    agents,
    register: (asked: Registration) => register(asked, at.ms),
    renewal,
    delegate,
    present,
    read,
    verify,
    mint,
    issue,
    sweep: sweeping({ records, record, revoke, longestLife: () => 86_400 }),
    logIn: loggingIn({ audience: issuerUrl, apps, rules: () => rules, issue, record }),
    registration,
    launch,
    /** Lets one in, and gives its token as it was verified. */
    agent: async (change: Partial<Registration> = {}, launchChange: Parameters<typeof launch>[0] = {}) => {
      const registered = await register(registration(await launch(launchChange), change), at.ms)
      if (registered.kind !== 'registered') throw new Error(`refused: ${registered.reason}`)
      return { id: registered.agentId, text: registered.minted.token, token: read(registered.minted.token)! }
    },
    close: async () => {
      ring.close()
      await state.close()
    },
  }
}

export type World = Awaited<ReturnType<typeof openWorld>>

/** Opens worlds that are closed after the test that opened them. */
export function worlds(): typeof openWorld {
  const opened: World[] = []
  afterEach(() => Promise.all(opened.splice(0).map((world) => world.close())))
  return async (given) => {
    const world = await openWorld(given)
    opened.push(world)
    return world
  }
}
