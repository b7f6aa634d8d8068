import { pageAudience } from '../core/management-plane.ts'
import { endpointFault } from './check-listen.ts'
import { checkOwnership } from './check-owner.ts'
import type { Draft } from './draft.ts'
import type { Report } from './faults.ts'
import type { OidcSettings } from './schema-oidc.ts'
import { durationText } from './values.ts'

/** Checks sources, token endpoints, the owner cache, keys and audiences. */
export function checkStores(draft: Draft, report: Report): void {
  const { sections, named } = draft
  for (const [name, source] of Object.entries(sections.sources)) {
    const holes = [...source.key.matchAll(/\{([^}]*)\}/g)].map((match) => match[1])
    if (holes.length !== 1 || holes[0] !== 'id')
      report(['sources', name, 'key'], 'expected a key template that holds {id} once, and no other {…} but {realm}')
    if (!named.validators.has(source.subjects_of)) report(['sources', name, 'subjects_of'], noValidator(source.subjects_of))
  }
  for (const [name, endpoint] of Object.entries(sections.sts)) {
    const fault = endpointFault(endpoint.token_endpoint)
    if (fault) report(['sts', name, 'token_endpoint'], fault)
    const path = ['sts', name, 'subjects_of']
    if (!named.validators.has(endpoint.subjects_of)) report(path, noValidator(endpoint.subjects_of))
    else if (draft.identity.some((entry) => entry && entry.name === endpoint.subjects_of && entry.type !== 'oidc'))
      report(path, `"${endpoint.subjects_of}" is no oidc validator: expected one, as its tokens are exchanged here`)
  }
  checkOwnership(draft, report)
  const { cache } = sections.ownership
  if (cache.max_stale > sections.revocation.max_staleness)
    report(
      ['ownership', 'cache', 'max_stale'],
      `expected at most revocation.max_staleness (${durationText(sections.revocation.max_staleness)})`,
    )
  if (sections.state.kind === 'memory' && typeof sections.workers === 'number' && sections.workers > 1)
    report(['workers'], 'each process would have a memory state of its own: expected 1, or state with file:PATH or redis://')
  checkRedisTls(draft, report)
  checkKeys(draft, report)
  checkAudiences(draft, report)
}

const noValidator = (name: string): string => `there is no validator "${name}": expected a name of those under identity`

/** Files that would not be used must not look as if the connection were private. */
function checkRedisTls({ sections: { state, sources } }: Draft, report: Report): void {
  if (state.kind === 'redis' && state.tls) {
    const path = ['state', 'redis', 'tls']
    if (state.url?.shape.startsWith('redis://')) report(path, '"tls" does nothing with redis://: expected rediss:// in url', { at: 'key' })
    checkPair(state.tls, path, report)
  }
  for (const [name, { redis, tls }] of Object.entries(sources)) {
    if (!tls) continue
    const path = ['sources', name, 'tls']
    if (redis.shape.startsWith('redis://')) report(path, '"tls" does nothing with redis://: expected rediss:// in redis', { at: 'key' })
    checkPair(tls, path, report)
  }
}

function checkPair(
  tls: { readonly cert?: string | undefined; readonly key?: string | undefined },
  path: readonly string[],
  report: Report,
): void {
  for (const [one, other] of [
    ['cert', 'key'],
    ['key', 'cert'],
  ] as const)
    if (tls[one] !== undefined && tls[other] === undefined)
      report([...path, other], `"${other}" is missing: expected a PEM file, as ${one} is given`)
}

function checkKeys({ sections, named }: Draft, report: Report): void {
  const { keys } = sections.issuer
  if (keys.publish_before >= keys.rotate_every)
    report(
      ['issuer', 'keys', 'publish_before'],
      `expected less than rotate_every (${durationText(keys.rotate_every)}): a key is published before it signs`,
    )
  const makesKeys = named.issuer || sections.admin.secret !== undefined
  if (sections.state.kind === 'redis' && makesKeys && !keys.encryption_key && keys.file === undefined)
    report(
      ['issuer', 'keys', 'encryption_key'],
      '"encryption_key" is missing: signing keys lie in Redis, so expected 32 bytes as base64 or hex to encrypt them with',
    )
  if (keys.file !== undefined && sections.state.kind === 'file' && keys.file === sections.state.path)
    report(['issuer', 'keys', 'file'], 'this is the file of state too: expected one of its own')
}

/** An oidc validator must not admit what is handed to upstreams: neither our own tokens nor those exchanged for it. */
function checkOwnTokens(draft: Draft, i: number, entry: OidcSettings, report: Report): void {
  const { listen, sts } = draft.sections
  const own = listen?.issuer?.url
  if (own !== undefined && entry.issuer === own)
    report(
      ['identity', i, 'issuer'],
      'this is our own issuer: write type postern, which takes none of its downstream tokens for a credential',
    )
  for (const audience of [entry.audience].flat()) {
    const exchanged = draft.routes.some(
      (route) =>
        route?.downstream?.audience === audience &&
        route.downstream.sts !== undefined &&
        sts[route.downstream.sts]?.subjects_of === entry.name,
    )
    if (exchanged)
      report(
        ['identity', i, 'audience'],
        `"${audience}" is the audience of tokens exchanged for upstreams too: an upstream could use its token here`,
      )
  }
}

/** A token for an upstream or for the admin listener must never pass as a credential here. */
function checkAudiences(draft: Draft, report: Report): void {
  const admin = draft.sections.admin.audience
  const downstream = new Set(draft.routes.flatMap((route) => (route?.downstream ? [route.downstream.audience] : [])))
  for (const [i, entry] of draft.identity.entries()) {
    if (entry?.type === 'oidc') checkOwnTokens(draft, i, entry, report)
    if (entry?.type !== 'postern') continue
    const path = ['identity', i, 'audience']
    if (downstream.has(entry.audience))
      report(path, `"${entry.audience}" is the audience of downstream tokens too: expected one that no route uses`)
    if (entry.audience === admin) report(path, `"${entry.audience}" is the audience of admin tokens too: expected one of its own`)
    if (entry.audience === pageAudience) report(path, `"${pageAudience}" is the audience of page tokens: expected one of its own`)
  }
  if (admin === pageAudience) report(['admin', 'audience'], `"${pageAudience}" is the audience of page tokens: expected one of its own`)
  for (const [i, route] of draft.routes.entries()) {
    const audience = route?.downstream?.audience
    if (audience !== admin && audience !== pageAudience) continue
    const whose = audience === admin ? 'admin' : 'page'
    report(['routes', i, 'downstream', 'audience'], `"${audience}" is the audience of ${whose} tokens: expected that of the upstream`)
  }
}
