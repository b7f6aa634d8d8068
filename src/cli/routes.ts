import type { Command } from 'commander'
import type { RouteSettings } from '../config/schema-routes.ts'
import { parseTemplate } from '../core/path-template.ts'
import { type Io, printJson } from './io.ts'
import { type CommonOptions, loadPolicy, withCommon } from './policy.ts'
import { table } from './table.ts'

const rank = { static: 0, param: 1, star: 2, rest: 3 } as const

/** How a host precedes others: exact, then the longest suffix, then none. */
const hostRank = (host: string | undefined): number => (host === undefined ? 1e6 : host.startsWith('*.') ? 1e5 - host.length : 0)

/** The order in which routes are preferred, as far as two of them could match one request. */
export function byPrecedence(a: RouteSettings, b: RouteSettings): number {
  const hosts = hostRank(a.host) - hostRank(b.host) || (a.host ?? '').localeCompare(b.host ?? '')
  if (hosts !== 0) return hosts
  const [left, right] = [parseTemplate(a.path), parseTemplate(b.path)]
  if (typeof left === 'string' || typeof right === 'string') return 0
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const [x, y] = [left[i], right[i]]
    if (!x || !y) return x ? (x.kind === 'rest' ? 1 : -1) : y?.kind === 'rest' ? -1 : 1
    const order = rank[x.kind] - rank[y.kind]
    if (order !== 0) return order
    if (x.kind === 'static' && y.kind === 'static' && x.text !== y.text) return x.text < y.text ? -1 : 1
  }
  return 0
}

const names = (demand: readonly string[] | { readonly all: readonly string[] } | undefined, what: string): string[] =>
  demand === undefined ? [] : 'all' in demand ? [`${what}: all of ${demand.all.join(', ')}`] : [`${what}: ${demand.join(' or ')}`]

function demands(route: RouteSettings): string {
  if (route.public) return '-'
  const found = [
    ...names(route.roles, 'roles'),
    ...names(route.scopes, 'scopes'),
    ...(route.workload ? [`workload: ${route.workload.join(' or ')}`] : []),
    ...(route.identity ? [`identity: ${route.identity.join(', ')}`] : []),
    ...(route.when === undefined ? [] : [`when: ${route.when.replace(/\s+/g, ' ').trim()}`]),
  ]
  return found.join('; ') || 'any principal'
}

function owner({ owner: demand }: RouteSettings): string {
  if (!demand) return '-'
  const what =
    demand.capture !== undefined
      ? `captures ${demand.capture.resource}`
      : demand.list !== undefined
        ? `lists ${demand.list}`
        : `${demand.resource} by ${demand.id}`
  const more = [
    ...(demand.bypass_roles ? [`bypass ${demand.bypass_roles.join(', ')}`] : []),
    ...(demand.when_absent === 'allow' ? ['absent allowed'] : []),
    ...(demand.source === undefined ? [] : [`from ${demand.source}`]),
    ...(demand.freshness === 'strict' ? ['strict'] : []),
    ...(demand.removes ? ['removes it'] : []),
    ...(demand.direct ? ['direct'] : []),
    ...(demand.filter ? ['filtered'] : []),
  ]
  return `${what}${more.length > 0 ? ` (${more.join('; ')})` : ''}`
}

const downstream = ({ downstream: token }: RouteSettings): string =>
  token ? `${token.audience} via ${token.via === 'sts' ? `sts ${token.sts}` : 'issuer'}, ${token.ttl / 1000}s` : '-'

const flags = (route: RouteSettings): string[] => [
  ...(route.public ? ['public'] : []),
  ...(route.enforce ? [] : ['UNENFORCED']),
  ...(route.authorization === 'keep' ? ['keeps Authorization'] : []),
  ...(route.encoded_slash ? ['%2f'] : []),
]

/** `postern routes`: what is routed, in the order of precedence. */
export function routesCommand(program: Command, io: Io): void {
  withCommon(program.command('routes').description('list routes in their order of precedence'), io).action(
    async (options: CommonOptions) => {
      const { settings } = await loadPolicy(options, io)
      const routes = [...settings.routes].sort(byPrecedence)
      if (options.json)
        return printJson(
          io,
          routes.map((route) => ({ ...route, flags: flags(route) })),
        )
      const rows = routes.map((r) => [
        r.id,
        r.host ?? '*',
        r.methods.join(','),
        r.path,
        demands(r),
        owner(r),
        downstream(r),
        flags(r).join(', ') || '-',
      ])
      io.out(table(['ROUTE', 'HOST', 'METHODS', 'PATH', 'DEMANDS', 'OWNER', 'DOWNSTREAM', 'FLAGS'], rows))
    },
  )
}
