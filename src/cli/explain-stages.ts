import type { OfflineResult } from '../compose/offline.ts'
import { type Facts, type StageName, stageNames } from '../core/facts.ts'
import type { Actor } from '../core/principal.ts'

/** A stage of one check, for people. */
export interface ExplainedStage {
  readonly stage: StageName
  /** `passed`, `skipped`, `not reached`, or the reason of the denial. */
  readonly outcome: string
  readonly saw: Readonly<Record<string, string>>
}

type Saw = (facts: Facts) => Readonly<Record<string, string | undefined>>

const list = (names: Iterable<string>): string => [...names].join(',') || '(none)'

/** Outermost first. */
function* actorsOf(first: Actor): Generator<string> {
  for (let actor: Actor | undefined = first; actor; actor = actor.actor) yield actor.subject
}

const sights: Record<StageName, Saw> = {
  normalize: ({ request, target }) => ({
    host: target?.host ?? request.host,
    path: target?.path ?? request.path,
    query: target?.query || undefined,
  }),
  route: ({ route, params }) => ({ route: route?.id, ...Object.fromEntries(params ?? []), public: route?.public ? 'yes' : undefined }),
  identify: ({ principal, workload }) => ({
    validator: principal?.validator,
    subject: principal?.subject,
    roles: principal && list(principal.roles),
    scopes: principal && principal.scopes.length > 0 ? list(principal.scopes) : undefined,
    workload: workload?.id,
  }),
  revocation: ({ principal }) => ({
    token_id: principal?.tokenId,
    subject: principal?.subject,
    issued_at: principal && String(principal.issuedAt),
    client: principal?.issued?.client,
    task: principal?.issued?.task,
    actors: principal?.issued && principal.actor && list(actorsOf(principal.actor)),
  }),
  authorize: ({ route, principal }) => ({
    roles: route?.roles && `${route.roles.mode} of ${list(route.roles.names)}`,
    scopes: route?.scopes && `${route.scopes.mode} of ${list(route.scopes.names)}`,
    workloads: route?.workloads && list(route.workloads),
    when: route?.condition?.source.replace(/\s+/g, ' ').trim(),
    presented: principal && list(principal.roles),
  }),
  own: ({ route, resource, ownerMatch, endpoint }) => ({
    resource: resource ?? (route?.owner ? '(none named)' : '(no owner check)'),
    owner_match: ownerMatch,
    lists: route?.list?.resource,
    captures: route?.capture?.resource,
    source: route?.owner?.source ?? route?.list?.source,
    freshness: route?.owner?.strict ? 'strict' : undefined,
    endpoint,
  }),
  exchange: ({ route, downstreamToken }) => ({
    audience: route?.downstream?.audience ?? '(no token)',
    via: route?.downstream && (route.downstream.via === 'issuer' ? 'issuer' : `sts ${route.downstream.via.sts}`),
    token: downstreamToken === undefined ? undefined : 'made',
  }),
  respond: () => ({}),
}

/** What each stage of a finished check saw, in their order. */
export function explainStages({ facts, ran, answer }: OfflineResult): ExplainedStage[] {
  const ended = answer.reason === 'ok' ? undefined : ran.at(-1)
  const finished = answer.reason === 'ok'
  return stageNames.map((stage) => {
    if (!ran.includes(stage)) return { stage, outcome: finished ? 'skipped' : 'not reached', saw: {} }
    const saw: Record<string, string> = {}
    for (const [name, value] of Object.entries(sights[stage](facts))) if (value !== undefined) saw[name] = value
    return { stage, outcome: stage === ended ? answer.reason : 'passed', saw }
  })
}
