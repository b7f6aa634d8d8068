/** The policy that Postern is measured with, in a form that peers can be configured from: all of them do the same job. */
import { numberedId } from '../owners.ts'
import { job, policyText } from '../policy.ts'

export interface JobRoute {
  readonly id: string
  /** Absent from the policy: GET alone. */
  readonly methods: readonly string[]
  /** `''`: any. */
  readonly host: string
  /** A path template: `{name}` is one segment, a last `**` is the rest. */
  readonly path: string
  /** Any of them is enough, or one that inherits it. */
  readonly roles: readonly string[]
  /** The path's parameter that names a resource with an owner; `''`: none. */
  readonly owner: string
}

export interface Job {
  readonly issuer: string
  readonly audience: string
  readonly metadata_key: string
  readonly roles: Readonly<Record<string, { readonly inherits: readonly string[] }>>
  readonly routes: readonly JobRoute[]
  /** Resource id → subject. */
  readonly owners: Readonly<Record<string, string>>
}

interface PolicyRoute extends Partial<Omit<JobRoute, 'owner'>> {
  readonly id: string
  readonly path: string
  readonly owner?: { readonly id?: string }
}

/** @param routes in the table @param owners numbered resources with an owner, beside the captured one */
export function readJob(routes: number = job.routes, owners: number = job.owners): Job {
  const nowhere = '127.0.0.1:1'
  const text = policyText({ check: nowhere, admin: nowhere, issuer: nowhere, state: 'memory:', routes })
  const policy = JSON.parse(text) as {
    readonly roles: Readonly<Record<string, { readonly inherits?: readonly string[] }>>
    readonly routes: readonly PolicyRoute[]
  }
  return {
    issuer: job.issuer,
    audience: job.audience,
    metadata_key: job.metadataKey,
    roles: Object.fromEntries(Object.entries(policy.roles).map(([name, { inherits = [] }]) => [name, { inherits }])),
    routes: policy.routes.map(({ id, path, methods = ['GET'], host = '', roles = [], owner }) => {
      return { id, path, methods, host, roles, owner: owner?.id?.replace(/^path:/, '') ?? '' }
    }),
    owners: Object.fromEntries([job.id, ...Array.from({ length: owners }, (_, n) => numberedId(n))].map((id) => [id, job.subject])),
  }
}

/** The wanted roles, and all that inherit one of them. */
export function holders({ roles }: Job, wanted: readonly string[]): string[] {
  const granting = new Set(wanted)
  for (let before = -1; before < granting.size; ) {
    before = granting.size
    for (const [name, { inherits }] of Object.entries(roles)) if (inherits.some((role) => granting.has(role))) granting.add(name)
  }
  return [...granting]
}
