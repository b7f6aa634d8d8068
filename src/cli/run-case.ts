import type { OfflineLabels, OfflineResult } from '../compose/offline.ts'
import type { Loaded } from '../config/read.ts'
import { headersRemoved, headersSet } from '../core/decision.ts'
import type { JsonObject } from '../core/json.ts'
import { sameJson } from '../core/json.ts'
import { parseJwt } from '../core/jwt.ts'
import { metadataObject, metadataValue } from '../core/metadata.ts'
import type { Case, CaseFile, Expected } from './case-file.ts'

/** What became of one case. */
export interface CaseResult {
  readonly name: string
  /** A sentence for each expectation that was not met; empty where the case passed. */
  readonly failures: readonly string[]
  readonly decision: string
  readonly reason: string
}

function labelOf(
  place: string,
  given: { readonly owner?: string | undefined; readonly labels?: Readonly<Record<string, string>> | undefined },
): OfflineLabels {
  const slash = /^([^/:]+)\//.exec(place)
  const rest = slash ? place.slice(slash[0].length) : place
  const colon = rest.indexOf(':')
  return { ...(slash ? { source: slash[1] } : {}), resource: rest.slice(0, colon), id: rest.slice(colon + 1), ...given }
}

/** Runs one case through the stages that serve, and compares. */
export async function runCase(loaded: Loaded, file: CaseFile, one: Case): Promise<CaseResult> {
  const now = one.now ?? file.now ?? Date.now()
  const seconds = Math.floor(now / 1000)
  const { decideOffline } = await import('../compose/offline.ts')
  const result = await decideOffline(loaded, {
    method: one.request.method,
    host: one.request.host,
    path: one.request.path,
    headers: Object.entries(one.request.headers).flatMap(([name, value]) =>
      [value].flat().map((single) => [name.toLowerCase(), single] as const),
    ),
    extensions: one.request.extensions,
    token: one.token,
    verified: one.verified,
    workload: one.workload,
    labels: Object.entries({ ...file.labels, ...one.labels }).map(([place, given]) => labelOf(place, given)),
    revoked: one.revoked.map(({ level, target, at, lifted }) => ({
      level,
      target,
      at: at === undefined ? seconds : Math.floor(at / 1000),
      // The list is kept by the real clock, whatever the case says it is.
      until: Math.max(seconds, Math.floor(Date.now() / 1000)) + 3600,
      ...(lifted && { lifted }),
    })),
    down: one.down,
    now,
  })
  const { reason } = result.answer
  return { name: one.name, failures: compare(result, one), decision: String(metadataValue(result.answer.metadata, 'decision')), reason }
}

const told = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value))

function meets(expected: Expected, found: unknown): boolean {
  if (expected === null) return found === undefined || found === null
  if (typeof expected === 'object') return typeof found === 'string' && new RegExp(expected.matches).test(found)
  return expected === found
}

function compare(result: OfflineResult, { expect }: Case): string[] {
  const { answer, facts, audit } = result
  const metadata = metadataObject(answer.metadata)
  const failures: string[] = []
  const check = (what: string, expected: Expected | undefined, found: unknown): void => {
    if (expected !== undefined && !meets(expected, found)) failures.push(`${what}: expected ${told(expected)}, found ${told(found)}`)
  }
  const each = (what: string, expected: Readonly<Record<string, Expected>> | undefined, found: (name: string) => unknown): void => {
    for (const [name, value] of Object.entries(expected ?? {})) check(`${what}.${name}`, value, found(name))
  }
  check('decision', expect.decision, metadata['decision'])
  check('reason', expect.reason, answer.reason)
  check('status', expect.status, answer.kind === 'deny' ? answer.status : undefined)
  check('route', expect.route, facts.route?.id)
  check('enforced', expect.enforced, metadata['enforced'])
  if (failures.length > 0 && result.detail) failures.push(`detail: ${result.detail}`)

  const headers = answer.kind === 'allow' ? headersSet(answer.mutations) : new Map(answer.headers)
  each('headers', expect.headers, (name) => headers.get(name.toLowerCase()))
  const remove = answer.kind === 'allow' ? headersRemoved(answer.mutations) : []
  const removeQuery = answer.kind === 'allow' ? answer.mutations.removeQuery : []
  for (const name of expect.removed ?? []) if (!remove.includes(name.toLowerCase())) failures.push(`removed: ${name} is not removed`)
  for (const name of expect.removed_query ?? []) if (!removeQuery.includes(name)) failures.push(`removed_query: ${name} is not removed`)
  each('metadata', expect.metadata, (name) => metadata[name])

  if (expect.downstream) {
    const payload: JsonObject = (facts.downstreamToken && parseJwt(facts.downstreamToken.text)?.payload) || {}
    for (const [name, value] of Object.entries(expect.downstream)) {
      if (value === null ? Object.hasOwn(payload, name) : !sameJson(value, payload[name])) {
        failures.push(`downstream.${name}: expected ${told(value)}, found ${told(payload[name])}`)
      }
    }
  }
  if (expect.body) {
    const body = answer.kind === 'deny' && answer.body.startsWith('{') ? (JSON.parse(answer.body) as JsonObject) : {}
    each('body', expect.body, (name) => body[name])
  }
  if (expect.audit === null && audit.length > 0) failures.push(`audit: expected no event, found ${told(audit[0])}`)
  if (expect.audit) {
    const event: JsonObject = { ...audit[0] } as JsonObject
    each('audit', expect.audit, (name) => event[name])
  }
  if (expect.stages && expect.stages.join() !== result.ran.join())
    failures.push(`stages: expected ${expect.stages.join(', ')}, found ${result.ran.join(', ')}`)
  return failures
}
