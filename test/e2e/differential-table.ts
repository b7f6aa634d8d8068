import fc from 'fast-check'
import { parseTemplate, type TemplateSegment } from '../../src/core/path-template.ts'

/** How a path template is written for Envoy, where there are several ways. */
export type Spelling = 'natural' | 'regex' | 'template'

/** One route, as Postern's policy has it. */
export interface TableRoute {
  readonly id: string
  readonly host: string | undefined
  readonly methods: readonly string[]
  readonly path: string
  readonly segments: readonly TemplateSegment[]
  readonly encodedSlash: boolean
  readonly spelling: Spelling
}

/** A route table that both are given. */
export interface Table {
  /** What the listener does with `%2f` and `%5c`. */
  readonly slashes: 'REJECT_REQUEST' | 'KEEP_UNCHANGED'
  readonly routes: readonly TableRoute[]
}

const staticText = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', 'c', 'v1', 'admin', 'sandboxes', 's1') },
  { weight: 2, arbitrary: fc.constantFrom('A', 'a.b', 'x~y', 'a-b', 'a_b', 'Admin', '...') },
  { weight: 1, arbitrary: fc.constantFrom('a:b', 'a@b', '$p', 'a=b', 'a+b', '(x)', 'a,b', '!', "'q'", 'a&b') },
)
const segment = fc.oneof(
  { weight: 5, arbitrary: staticText },
  { weight: 3, arbitrary: fc.constant('{}') },
  { weight: 1, arbitrary: fc.constant('*') },
)
const template = fc
  .record({
    parts: fc.array(segment, { maxLength: 4 }),
    tail: fc.oneof({ weight: 5, arbitrary: fc.constant('') }, { weight: 4, arbitrary: fc.constant('**') }, fc.constant('/')),
  })
  .map(({ parts, tail }) => {
    const named = parts.map((part, i) => (part === '{}' ? `{p${i}}` : part))
    if (tail === '/' && named.length > 0) return `/${named.join('/')}/`
    return `/${[...named, ...(tail === '**' ? ['**'] : [])].join('/')}`
  })
const host = fc.oneof(
  { weight: 4, arbitrary: fc.constant(undefined) },
  fc.constantFrom('a.example', 'api.a.example', '*.a.example', '*.example', '*.api.a.example', 'localhost', 'a-b.a.example'),
)
const methods = fc.uniqueArray(fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'PURGE'), {
  minLength: 1,
  maxLength: 4,
})

/** Any table that a policy file may have: what would be a conflict there is left out. */
export const table: fc.Arbitrary<Table> = fc
  .record({
    slashes: fc.constantFrom('REJECT_REQUEST' as const, 'KEEP_UNCHANGED' as const),
    hosts: fc.uniqueArray(host, { minLength: 1, maxLength: 4 }),
    drafts: fc.array(
      fc.record({
        host: fc.nat(),
        methods,
        path: template,
        encodedSlash: fc.boolean(),
        spelling: fc.constantFrom<Spelling>('natural', 'regex', 'template'),
      }),
      { minLength: 2, maxLength: 14 },
    ),
  })
  .map(({ slashes, hosts, drafts }) => {
    const taken = new Set<string>()
    const routes: TableRoute[] = []
    for (const draft of drafts) {
      const segments = parseTemplate(draft.path)
      if (typeof segments === 'string') throw new Error(`${draft.path}: ${segments}`)
      const at = hosts[draft.host % hosts.length]
      const free = draft.methods.filter((method) => !taken.has(`${method} ${at} ${shape(segments)}`))
      for (const method of free) taken.add(`${method} ${at} ${shape(segments)}`)
      if (free.length > 0) routes.push({ ...draft, id: `r${routes.length}`, host: at, methods: free, segments })
    }
    return { slashes, routes }
  })

/** What two templates that match the same paths have in common. */
export const shape = (segments: readonly TemplateSegment[]): string =>
  segments
    .map((one) => (one.kind === 'static' ? `/${one.text}` : one.kind === 'param' ? '/{}' : one.kind === 'star' ? '/*' : '/**'))
    .join('')

/** The table as a policy file. Every route is public: who asks is no matter here. */
export function policyText({ routes }: Table, realm: string): string {
  const lines = routes.map(({ id, host: at, methods: list, path, encodedSlash }) =>
    JSON.stringify({ id, ...(at && { host: at }), methods: list, path, public: true, encoded_slash: encodedSlash }),
  )
  return `version: 1
realm: ${realm}
listen: { check: { address: "unix:/run/postern/check.sock" } }
identity:
  - { name: users, type: oidc, issuer: "https://users.example", audience: edge, verified_by: envoy, metadata_key: users }
routes:
${lines.map((line) => `  - ${line}`).join('\n')}
`
}
