import { readFileSync } from 'node:fs'
import { isJsonObject } from '../core/json.ts'
import { operatorNamespace, pageAudience } from '../core/management-plane.ts'
import { checkRoles } from './check-identity.ts'
import type { Draft } from './draft.ts'
import type { Path, Report } from './faults.ts'
import type { ClientSettings } from './schema-issuer.ts'
import { checkReadable } from './secret-settings.ts'

/** The name of who has no client and swaps a federated token. */
const builtIn = 'federated'

/** Checks who may ask for tokens, one by one and against the rest of the policy. */
export function checkClients(draft: Draft, report: Report): void {
  const { clients } = draft.sections.issuer
  if (clients.length > 0 && !draft.named.issuer)
    report(['issuer', 'clients'], 'clients ask at the issuer listener: expected listen.issuer', { at: 'key' })
  const ids = new Set<string>()
  for (const [i, client] of clients.entries()) {
    const path = ['issuer', 'clients', i]
    if (ids.has(client.id)) report([...path, 'id'], `the id "${client.id}" occurs twice: expected each client to have its own`)
    ids.add(client.id)
    checkId(client.id, [...path, 'id'], draft, report)
    checkAuthentication(client, path, draft, report)
    checkGrants(client, path, report)
    checkOwnTokens(client, path, draft, report)
    checkExchange(client, path, draft, report)
  }
}

/** Its id is the subject of its own tokens: that must be nobody else's. */
function checkId(id: string, path: Path, { identity }: Draft, report: Report): void {
  if (id === builtIn) report(path, `"${builtIn}" stands for whoever swaps a federated token without a client: expected another id`)
  const prefixes = [
    operatorNamespace,
    ...identity.flatMap((entry) => (entry && 'subject_namespace' in entry ? entry.subject_namespace || [] : [])),
  ]
  const prefix = prefixes.find((one) => id.startsWith(one))
  if (prefix !== undefined)
    report(path, `"${id}" begins as other subjects do ("${prefix}…"), and could be taken for one: expected another id`)
}

function checkAuthentication({ auth }: ClientSettings, path: Path, { sections }: Draft, report: Report): void {
  const issuer = sections.listen?.issuer
  if (auth.mtls && issuer && issuer.tls.mode !== 'mtls')
    report([...path, 'auth', 'mtls'], 'no client certificate is asked for: expected listen.issuer.tls with mode mtls', { at: 'key' })
}

function checkGrants({ grants, exchange }: ClientSettings, path: Path, report: Report): void {
  const at = [...path, 'grants']
  for (const [i, grant] of grants.entries())
    if (grants.indexOf(grant) !== i) report([...at, i], `"${grant}" occurs twice: expected each grant once`)
  const exchanges = grants.includes('token_exchange')
  if (exchanges && !exchange)
    report([...path, 'exchange'], '"exchange" is missing: expected at least { audiences: […] }, as token_exchange is among the grants')
  if (!exchanges && exchange)
    report([...path, 'exchange'], '"exchange" does nothing without the grant token_exchange: expected it among grants', { at: 'key' })
  if (grants.includes('refresh_token') && !exchanges)
    report(
      [...at, grants.indexOf('refresh_token')],
      'refresh tokens come with exchanged tokens alone: expected token_exchange among grants',
    )
}

/** What its own tokens are for, and what they hold. */
function checkOwnTokens({ grants, audiences, roles, scopes }: ClientSettings, path: Path, draft: Draft, report: Report): void {
  checkRoles(roles ?? [], [...path, 'roles'], draft, report)
  if (!grants.includes('client_credentials')) {
    for (const [name, value] of Object.entries({ audiences, roles, scopes }))
      if (value !== undefined)
        report([...path, name], `"${name}" is of the client's own tokens: expected client_credentials among grants`, { at: 'key' })
    return
  }
  if (!audiences)
    report([...path, 'audiences'], '"audiences" is missing: expected what the own tokens of the client are for, such as the edge audience')
  checkAudiences(audiences ?? [], [...path, 'audiences'], draft, report)
  const edges = new Set(draft.identity.flatMap((entry) => (entry?.type === 'postern' ? [entry.audience] : [])))
  if (roles && audiences && !audiences.some((audience) => edges.has(audience)) && draft.identity.every((entry) => entry !== undefined))
    report([...path, 'roles'], 'roles are for routes here: expected the audience of a postern validator among audiences', { at: 'key' })
}

function checkExchange({ exchange }: ClientSettings, path: Path, draft: Draft, report: Report): void {
  if (!exchange) return
  const at = [...path, 'exchange']
  checkAudiences(exchange.audiences, [...at, 'audiences'], draft, report)
  checkEdgeSubjects(exchange, at, draft, report)
  const { federation } = draft.sections.issuer
  const whole = ![...draft.broken].some((one) => one.startsWith('issuer.federation') || one === 'issuer')
  for (const [i, name] of (exchange.subjects_of ?? []).entries()) {
    const here = [...at, 'subjects_of', i]
    if (federation.some((rule) => rule.name === name)) continue
    const entry = draft.identity.find((one) => one?.name === name)
    if (entry && entry.type !== 'oidc' && entry.type !== 'postern')
      report(here, `"${name}" is of type ${entry.type}, and what it admits is no subject token: expected an oidc or postern validator`)
    else if (whole && !draft.named.validators.has(name))
      report(here, `there is no validator and no federation rule "${name}": expected a name of those under identity or issuer.federation`)
  }
}

/** At the edge nobody is admitted whose subject begins as those of another validator do: such a token would be of no use. */
function checkEdgeSubjects(
  { audiences, subjects_of }: NonNullable<ClientSettings['exchange']>,
  path: Path,
  { identity }: Draft,
  report: Report,
): void {
  const given = identity.flatMap((entry) =>
    entry?.type === 'oidc' && (subjects_of?.includes(entry.name) ?? true) ? (entry.subject_namespace ?? '') || [] : [],
  )
  for (const [i, audience] of audiences.entries()) {
    const edge = identity.find((entry) => entry?.type === 'postern' && entry.audience === audience)
    const prefix = edge?.type === 'postern' && !edge.subject_namespace ? given[0] : undefined
    if (edge && prefix !== undefined)
      report(
        [...path, 'audiences', i],
        `the validator "${edge.name}" would refuse subjects that begin "${prefix}", as they are those of another: expected it to have a subject_namespace`,
      )
  }
}

/** Tokens of ours with a use of their own are never issued to clients. */
function checkAudiences(audiences: readonly string[], path: Path, { sections }: Draft, report: Report): void {
  const url = sections.listen?.issuer?.url
  const taken = new Map([
    [sections.admin.audience, 'admin tokens'],
    [pageAudience, 'page tokens'],
    ...(url === undefined ? [] : [[url, 'refresh tokens'] as const]),
  ])
  for (const [i, audience] of audiences.entries()) {
    const whose = taken.get(audience)
    if (whose !== undefined) report([...path, i], `"${audience}" is the audience of ${whose}: expected another`)
    if (audiences.indexOf(audience) !== i) report([...path, i], `"${audience}" occurs twice: expected each audience once`)
  }
}

/** Checks the files with clients' keys. @param report told of what may differ on another machine */
export function checkClientKeys({ sections }: Draft, report: Report): void {
  for (const [i, { auth }] of sections.issuer.clients.entries()) {
    const file = auth.private_key_jwt?.jwks
    if (file === undefined) continue
    const path = ['issuer', 'clients', i, 'auth', 'private_key_jwt', 'jwks']
    let readable = true
    checkReadable(file, path, (...fault) => {
      readable = false
      report(...fault)
    })
    if (readable && !holdsKeys(file)) report(path, `"${file}" holds no keys: expected a JWKS (RFC 7517) with the public keys of the client`)
  }
}

function holdsKeys(file: string): boolean {
  try {
    const set: unknown = JSON.parse(readFileSync(file, 'utf8'))
    const keys = isJsonObject(set) ? set['keys'] : undefined
    return (
      Array.isArray(keys) &&
      keys.length > 0 &&
      keys.every((key) => isJsonObject(key) && typeof key['kty'] === 'string' && key['kty'] !== 'oct')
    )
  } catch {
    return false
  }
}
