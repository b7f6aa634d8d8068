import { openMemoryState } from '../../src/adapters/memory-state.ts'
import { createProcessor } from '../../src/check/processor.ts'
import type { ProcessorNeeds } from '../../src/check/processor-needs.ts'
import { createRetries } from '../../src/check/processor-retries.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { parsePointer } from '../../src/core/json-pointer.ts'
import { defaultIdPattern, type Labels } from '../../src/core/ownership.ts'
import type { Policy } from '../../src/core/policy.ts'
import { type State, Unavailable } from '../../src/core/ports.ts'
import type { OwnerDemand } from '../../src/core/route.ts'
import { anEntry, aPolicy, noSharing } from '../support/facts.ts'

export const label = 'agentcube.io/owner'
export const pointer = (text: string) => parsePointer(text)!

const owner: OwnerDemand = {
  resource: 'sandbox',
  id: { from: 'path', name: 'id' },
  idPattern: defaultIdPattern,
  whenAbsent: 'deny',
  source: undefined,
  bypass: new Set(['admin']),
  strict: false,
  removes: true,
  direct: false,
}
const capture = { resource: 'sandbox', idPattern: defaultIdPattern, codes: new Set([201]), maxBody: 200, endpoint: undefined }
const header = (name: string) => ({ from: 'header', name }) as const
const body = (place: string) => ({ from: 'body', pointer: pointer(place) }) as const
const location = { from: 'location' } as const
const filter = { items: pointer('/items'), id: pointer('/meta/id'), idPattern: defaultIdPattern, maxItems: 5, maxBody: 400 }
const list = { resource: 'sandbox', source: undefined, bypass: new Set(['admin']), filter }

/** One route for each thing that ext_proc does, named by it. */
export const processedPolicy = (over: Partial<Policy> = {}): Policy =>
  aPolicy(
    [
      anEntry('POST /header', { id: 'header', capture: { ...capture, ids: [header('x-id')] } }),
      anEntry('POST /body', { id: 'body', capture: { ...capture, ids: [body('/spec/id')] } }),
      anEntry('POST /location', { id: 'location', capture: { ...capture, ids: [location] } }),
      anEntry('POST /any', { id: 'any', capture: { ...capture, ids: [header('x-id'), body('/id'), location] } }),
      anEntry('POST /wide', {
        id: 'wide',
        capture: { ...capture, idPattern: { test: () => true }, ids: [header('x-id'), body('/id'), location] },
      }),
      anEntry('POST /accepted', { id: 'accepted', capture: { ...capture, codes: new Set([200, 201, 202]), ids: [header('x-id')] } }),
      anEntry('POST /endpoint', { id: 'endpoint', capture: { ...capture, ids: [header('x-id')], endpoint: header('x-endpoint') } }),
      anEntry('POST /inside', { id: 'inside', capture: { ...capture, ids: [header('x-id')], endpoint: body('/at') } }),
      anEntry('DELETE /sandboxes/{id}', { id: 'remove', owner }),
      anEntry('GET /sandboxes', { id: 'list', list }),
      anEntry('GET /all', { id: 'root', list: { ...list, filter: { ...filter, items: pointer(''), id: pointer('') } } }),
      anEntry('GET /widely', {
        id: 'widely',
        list: { ...list, filter: { ...filter, items: pointer(''), id: pointer(''), idPattern: { test: () => true } } },
      }),
      anEntry('GET /platform', { id: 'platform', list: { ...list, source: 'platform' } }),
      anEntry('GET /plain', { id: 'plain' }),
    ],
    {
      subjectsOf: new Map([['platform', 'keys']]),
      ownership: {
        ...noSharing,
        shared: 'agentcube.io/shared-with',
        namespaces: new Map([
          ['keys', ''],
          ['other', 'other:'],
        ]),
        endpoint: { label: 'agentcube.io/endpoint', allows: (ip) => ip.startsWith('10.') || ip === 'fd00::1' },
      },
      ...over,
    },
  )

/** Metadata of the check, as Envoy hands it on. */
export const metadataOf = (by: string, route: string, more: JsonObject = {}): JsonObject => ({
  decision: 'allow',
  enforced: true,
  reason: 'ok',
  decision_id: 'd1',
  realm: 'default',
  policy: 'a1b2c3d4e5f6',
  route,
  subject: by,
  validator: 'keys',
  roles: '',
  groups: '',
  ...more,
})

/** Which parts of state fail. `after`: they do what they are asked, and their answer is lost. */
export interface Failures {
  readonly parts: Set<'read' | 'swap' | 'records' | 'audit'>
  after: boolean
}

export interface Replica {
  readonly needs: ProcessorNeeds
  readonly processor: ReturnType<typeof createProcessor>
  readonly failures: Failures
  readonly counted: string[]
  readonly logged: string[]
}

/** A processor over a state, some parts of which may be made to fail. */
export function aReplica(
  state: Pick<State, 'labels' | 'records' | 'audit'>,
  over: Partial<ProcessorNeeds> = {},
  name = 'a',
  /** Awaited before each step that state takes. */
  pause: () => void | Promise<void> = () => {},
): Replica {
  const failures: Failures = { parts: new Set(), after: false }
  const counted: string[] = []
  const logged: string[] = []
  let made = 0
  const failing =
    <A extends readonly unknown[], R>(part: 'read' | 'swap' | 'records' | 'audit', work: (...args: A) => R | Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (failures.parts.has(part) && !failures.after) throw new Unavailable('made to fail')
      await pause()
      const result = await work(...args)
      await pause()
      if (failures.parts.has(part)) throw new Unavailable('made to fail, afterwards')
      return result
    }
  const write = (_: object, text: string) => void logged.push(text)
  const labels = { read: failing('read', state.labels.read), swap: failing('swap', state.labels.swap) }
  const needs: ProcessorNeeds = {
    policy: () => processedPolicy(),
    labels,
    records: {
      ...state.records,
      write: failing('records', state.records.write),
      remove: failing('records', state.records.remove),
      expired: failing('records', state.records.expired),
    },
    audit: { commit: failing('audit', state.audit.commit) },
    owners: {
      labels: async (_, resource, id) => ({ labels: (await labels.read(resource, id))?.labels, cache: 'miss' }),
    },
    retries: createRetries({
      onFault: (cause) => void logged.push(`fault ${String(cause)}`),
      onDropped: (kind, key) => void logged.push(`dropped ${kind} ${key}`),
      firstMs: 3_600_000,
    }),
    following: new Set(),
    newId: () => `${name}-event-${++made}`,
    clock: () => 1_700_000_000_000,
    log: { info: write, warn: write, error: write },
    count: {
      captured: (outcome) => void counted.push(`captured ${outcome}`),
      released: (outcome) => void counted.push(`released ${outcome}`),
      filtered: (outcome) => void counted.push(outcome),
      items: (kept, dropped) => void counted.push(`${kept} kept, ${dropped} dropped`),
    },
    ...over,
  }
  return { needs, processor: createProcessor(needs), failures, counted, logged }
}

/** Memory, for one test. */
export const memory = (): Promise<State> => openMemoryState({ realm: 'default' })

export const toLabels = (labels: Readonly<Record<string, string>>): Labels => new Map(Object.entries(labels))

/** Everything that is stored, by `<kind>:<id>`. */
export async function storedIn(state: Pick<State, 'labels'>): Promise<Record<string, Record<string, string>>> {
  const all: Record<string, Record<string, string>> = {}
  for (let after: string | undefined; ; ) {
    const { entries, cursor } = await state.labels.list({}, 1000, after)
    for (const { resource, id, labels } of entries) all[`${resource}:${id}`] = Object.fromEntries(labels)
    if (cursor === undefined) return all
    after = cursor
  }
}

/** Ids of the intents in state. */
export async function intentsIn({ records }: Pick<State, 'records'>): Promise<string[]> {
  const { records: all } = await records.list('capture', 1000)
  return all.map(({ id }) => id).sort()
}

/** `type outcome reason target by actor`, without what is absent. */
export const eventText = ({ type, outcome, reason, target, actor }: AuditEvent): string =>
  [type, outcome, reason, target, actor && `by ${actor}`].filter((part) => part !== undefined).join(' ')

/** Has what goes on in the background come to its end. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}
