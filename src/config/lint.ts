import { jwksMaxAge } from '../core/issuer.ts'
import type { RouteEntry } from '../core/route-table.ts'
import { parseSpiffeId } from '../core/spiffe.ts'
import { warnOfBroker } from './check-broker.ts'
import { fromOf } from './compile-places.ts'
import type { Draft } from './draft.ts'
import type { Report } from './faults.ts'
import { warnOfFederation } from './lint-federation.ts'
import { parseNetwork, specialNetwork } from './networks.ts'
import { issuerWarning } from './providers-issuer.ts'
import type { EdgeTrustSettings, ValidatorSettings } from './schema-identity.ts'
import { isLoopback, parseAddress } from './schema-listen.ts'
import type { RouteSettings } from './schema-routes.ts'
import type { Turns } from './turns.ts'
import { durationText } from './values.ts'

const jwksCachedMs = jwksMaxAge * 1000

/** Tells what is legal but unsafe, each in one sentence with what to write instead. */
export async function warnOfUnsafe(draft: Draft, entries: readonly RouteEntry[], turns: Turns, report: Report): Promise<void> {
  warnOfListeners(draft, report)
  warnOfEndpoints(draft, report)
  const { state } = draft.sections
  if (state.kind === 'file') report(['state'], 'replicas would not share a state file: write redis:// where more than one runs')
  if (state.kind === 'memory') report(['state'], 'a restart forgets owners, keys and revocations: write file:PATH or redis:// to keep them')
  const rules = new Map(entries.map((entry) => [entry.route.id, entry]))
  for (const [i, route] of draft.routes.entries()) {
    if (turns.due) await turns.next()
    if (!route) continue
    warnOfRoute(route, rules.get(route.id), i, report)
    if (route.binding === 'dpop') warnOfBinding(route, draft, i, report)
  }
  warnOfValidators(draft, entries, report)
  warnOfSharedAudiences(draft, report)
  warnOfFederation(draft, report)
  warnOfBroker(draft, report)
}

function warnOfListeners(draft: Draft, report: Report): void {
  const { listen, admin: login, issuer } = draft.sections
  const admin = listen?.admin
  if (admin && !login.secret && !(admin.tls.mode === 'mtls' && admin.tls.allow))
    report(
      ['listen', 'admin'],
      'nobody can authenticate here, so that only health and metrics answer: write admin.secret, or tls with mode mtls and allow',
      { at: 'key' },
    )
  if (!admin && login.secret && !draft.sections.broker.enabled)
    report(['admin', 'secret'], 'nothing asks for this secret: write listen.admin, where it is the login')
  if (issuer.keys.file !== undefined && draft.sections.state.kind === 'redis')
    report(
      ['issuer', 'keys', 'file'],
      'replicas on other hosts do not share this file, and would refuse the tokens of one another: write encryption_key instead, unless there is one host',
    )
  if (listen?.issuer && issuer.keys.publish_before < jwksCachedMs)
    report(
      ['issuer', 'keys', 'publish_before'],
      `upstreams may keep the key set for ${durationText(jwksCachedMs)}, and would refuse tokens of a key that signs before: write at least that`,
    )
  for (const name of ['check', 'ext_proc'] as const) {
    const asked = listen?.[name]
    const address = asked && parseAddress(asked.address)
    if (address?.kind === 'tcp' && isLoopback(address) && asked?.tls.mode !== 'mtls')
      report(
        ['listen', name, 'address'],
        'every process on this machine can reach a loopback port and forge identities: write unix:/path, which is open to one group alone',
      )
  }
  if (listen?.ext_proc && !draft.routes.some((route) => route?.owner?.capture || route?.owner?.removes || route?.owner?.filter))
    report(['listen', 'ext_proc'], 'no route has capture, removes or filter, so that nothing is done here: leave it out', { at: 'key' })
}

/** Networks that are no platform's: whoever writes a label there reaches what only this machine should. */
function warnOfEndpoints({ sections }: Draft, report: Report): void {
  for (const [i, text] of (sections.ownership.endpoint?.networks ?? []).entries()) {
    const network = parseNetwork(text)
    const what = typeof network === 'string' ? undefined : specialNetwork(network)
    if (what)
      report(
        ['ownership', 'endpoint', 'networks', i],
        `"${text}" is ${what}: whoever may write labels reaches what listens there; write the networks that resources are in`,
      )
  }
}

function warnOfRoute(route: RouteSettings, entry: RouteEntry | undefined, i: number, report: Report): void {
  const path = ['routes', i]
  for (const [segment] of route.path.matchAll(/(?<=\/):\w+/g))
    report([...path, 'path'], `"${segment}" is matched letter by letter: write {${segment.slice(1)}} for a parameter`)
  const owned = route.owner !== undefined && route.owner.when_absent === 'deny' && !route.owner.capture
  if (!route.public && !route.roles && !route.scopes && !route.workload && route.when === undefined && !owned)
    report(path, `whoever is identified may use the route "${route.id}": write roles, scopes, workload or when`)
  if (!route.enforce)
    report(
      [...path, 'enforce'],
      `denials of the route "${route.id}" are recorded and let through: write enforce: true once its callers are ready`,
    )
  if (route.owner?.when_absent === 'allow')
    report(
      [...path, 'owner', 'when_absent'],
      `a request without an id skips the owner check of the route "${route.id}": write deny unless the upstream then makes a new one`,
    )
  if (route.owner?.filter && !route.enforce)
    report(
      [...path, 'enforce'],
      `a denied request to the route "${route.id}" is let through with the whole list: write enforce: true once its callers are ready`,
    )
  if (route.authorization === 'keep')
    report(
      [...path, 'authorization'],
      `the upstream of the route "${route.id}" sees the caller's Authorization: write replace unless it has a login of its own`,
    )
  if (entry?.route.condition?.readsResource && !route.owner)
    report(
      [...path, 'when'],
      `the condition of the route "${route.id}" names resource, which is empty without an owner: write owner, or leave resource out`,
    )
}

/** Who may identify on the route must be shown the token itself: the proof names its hash (RFC 9449, section 4.3). */
function warnOfBinding(route: RouteSettings, { identity }: Draft, i: number, report: Report): void {
  const path = ['routes', i, 'binding']
  if (route.authorization === 'keep')
    report(
      path,
      `"Authorization" of the route "${route.id}" is the upstream's, so that no DPoP token can stand there: write authorization: replace`,
    )
  const able = identity.some(
    (entry) =>
      entry &&
      (route.identity === undefined || route.identity.includes(entry.name)) &&
      (entry.type === 'postern' || (entry.type === 'oidc' && (entry.verified_by === 'postern' || entry.forward))),
  )
  if (!able)
    report(
      path,
      `no validator of the route "${route.id}" is shown tokens that DPoP could prove: write forward: true, or verified_by: postern, on one of them`,
    )
}

/** Presented roles that a validator could give; undefined for any. */
function mayGive(entry: ValidatorSettings): readonly string[] | undefined {
  if (entry.type === 'basic') return []
  if (entry.type !== 'mtls' && entry.type !== 'shared-token') return entry.may_assert
  const mapped = entry.type === 'mtls' ? Object.values(entry.roles).flat() : entry.role === undefined ? [] : [entry.role]
  return entry.may_assert ? mapped.filter((role) => entry.may_assert?.includes(role)) : mapped
}

/** The edge's own certificate would be taken for who is asking, and the headers never be read. */
function warnOfEdge({ identity }: Draft, entry: EdgeTrustSettings, i: number, report: Report): void {
  const before = identity
    .slice(0, i)
    .find((one) => one?.type === 'mtls' && entry.from?.some((id) => parseSpiffeId(id)?.trustDomain === one.trust_domain))
  if (before)
    report(
      ['identity', i],
      `"${before.name}" above it identifies the edge itself by its certificate, so that its headers are never read: write "${entry.name}" above it`,
    )
}

function warnOfValidators(draft: Draft, entries: readonly RouteEntry[], report: Report): void {
  const bypass = new Set(entries.flatMap(({ route }) => [...(route.owner?.bypass ?? [])]))
  const giving: string[] = []
  for (const [i, entry] of draft.identity.entries()) {
    if (!entry) continue
    if (entry.type === 'oidc') {
      const wrong = issuerWarning(entry.issuer, entry.provider)
      if (wrong) report(['identity', i, 'issuer'], wrong)
    }
    const asking = draft.identity.slice(0, i).find((one) => one?.type === 'oidc' && one.introspection)
    if (asking && entry.type === 'shared-token')
      report(
        ['identity', i],
        `"${asking.name}" above it asks its issuer about tokens that it does not know, the secret of "${entry.name}" among them: write "${entry.name}" above it`,
      )
    if (asking && entry.type === 'oidc' && entry.introspection)
      report(
        ['identity', i, 'introspection'],
        `the issuer of "${asking.name}" above it is shown the opaque tokens of "${entry.name}": name one of them alone in the identity of each route, or have them stand in different places (from)`,
      )
    if (fromOf(entry).includes('query'))
      report(
        ['identity', i, 'from'],
        `tokens in the query end up in logs and histories: write another place than query where the clients of "${entry.name}" can use one`,
      )
    if (entry.type === 'edge-trust') warnOfEdge(draft, entry, i, report)
    const given = entry.type === 'api-keys' ? 'default_role' : 'role'
    const role = entry.type === 'api-keys' ? entry.default_role : entry.type === 'shared-token' ? entry.role : undefined
    if (role !== undefined && !draft.named.roles.has(role))
      report(
        ['identity', i, given],
        `no route can demand the role "${role}", which is not under roles: write one of those, or add it there`,
      )
    if (bypass.size === 0) continue
    const roles = mayGive(entry)
    if (!roles || roles.some((role) => bypass.has(role))) giving.push(entry.name)
    if (!roles)
      report(
        ['identity', i],
        `"${entry.name}" can give any role, and some bypass owners (${[...bypass].join(', ')}): write may_assert with the roles that it may give`,
      )
  }
  if (giving.length > 1)
    report(
      ['identity'],
      `several validators (${giving.join(', ')}) can give a role that bypasses owners: write may_assert so that one of them can`,
    )
}

/** A token for one upstream is good at every upstream with its audience. */
function warnOfSharedAudiences(draft: Draft, report: Report): void {
  const hosts = new Map<string, string | undefined>()
  const told = new Set<string>()
  for (const [i, route] of draft.routes.entries()) {
    const audience = route?.downstream?.audience
    if (!route || audience === undefined || told.has(audience)) continue
    if (hosts.has(audience) && hosts.get(audience) !== route.host) {
      report(
        ['routes', i, 'downstream', 'audience'],
        `routes of different hosts share the audience "${audience}", so that each upstream could use its tokens at the other: write one audience for each upstream`,
      )
      told.add(audience)
    }
    hosts.set(audience, route.host)
  }
}
