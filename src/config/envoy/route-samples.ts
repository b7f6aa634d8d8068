import type { PolicyRoute } from './policy-routes.ts'
import { entriesOf, type Route } from './routes.ts'
import type { Setting } from './setting.ts'

/** A request that stands for many. */
export interface Sample {
  readonly method: string
  /** Lower case, without port. */
  readonly host: string
  readonly path: string
}

/** For hosts that nobody names. */
const anyHost = 'any.invalid'
const anySegment = 'x'

/** Hosts that a route configuration tells apart, each by one example. */
const hostsOf = (routeConfig: Setting): string[] => [
  ...new Set([anyHost, ...routeConfig.at('virtual_hosts').items.flatMap((host) => host.at('domains').texts.map(hostIn))]),
]

/** An example of a domain of a virtual host. */
const hostIn = (domain: string): string => (domain === '*' ? anyHost : withoutPort(domain).replace('*', anySegment).toLowerCase())

const withoutPort = (domain: string): string => domain.replace(/:(?:\d+|\*)$/, '')

/** Requests of a route of the policy: one for each method, host, and length of what `**` stands for. */
export function samplesOfPolicy({ host, methods, segments }: PolicyRoute, routeConfig: Setting): Sample[] {
  const fixed = segments.flatMap((segment) => (segment.kind === 'static' ? [segment.text] : segment.kind === 'rest' ? [] : [anySegment]))
  const rests = segments.at(-1)?.kind === 'rest' ? [[], [anySegment], [anySegment, anySegment]] : [[]]
  const paths = rests.map((rest) => `/${[...fixed, ...rest].join('/')}`)
  const hosts = host === undefined ? hostsOf(routeConfig) : [host.replace('*', anySegment)]
  return hosts.flatMap((one) => methods.flatMap((method) => paths.map((path) => ({ method, host: one, path }))))
}

/** Requests that a route of Envoy matches; none where it matches by what cannot be guessed, such as a regular expression. */
export function samplesOfEntry(entry: Setting, host: Setting): Sample[] {
  const match = entry.at('match')
  const exact = match.at('path').text
  const separated = match.at('path_separated_prefix').text
  const prefix = match.at('prefix').text ?? (separated === undefined ? undefined : `${separated}/`)
  const after = ['', anySegment, `${anySegment}/${anySegment}`, `${anySegment}/${anySegment}/${anySegment}`]
  const paths = exact === undefined ? after.flatMap((rest) => (prefix === undefined ? [] : [prefix + rest])) : [exact]
  if (separated !== undefined) paths.push(separated)
  return host
    .at('domains')
    .texts.map(hostIn)
    .flatMap((one) => paths.flatMap((path) => methods.map((method) => ({ method, host: one, path }))))
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** The routes that a request may take: the first that surely matches, and those before it that match where more is known of it. */
export function routesTaken(sample: Sample, routeConfig: Setting, routes: readonly Route[]): Route[] {
  const host = hostOf(sample.host, routeConfig)
  if (!host) return []
  const taken: Route[] = []
  for (const entry of entriesOf(host)) {
    const answer = matches(entry.at('match'), sample)
    if (answer === 'no') continue
    taken.push(...routes.filter((route) => route.entry.pathText === entry.pathText && route.entry.place.file === entry.place.file))
    if (answer === 'yes') break
  }
  return taken
}

/** As Envoy chooses: exact, the longest `*suffix`, the longest `prefix*`, `*`. */
function hostOf(host: string, routeConfig: Setting): Setting | undefined {
  const rank = (domain: string): number => {
    const name = withoutPort(domain).toLowerCase()
    if (name === host) return 3000
    if (name === '*') return 1
    if (name.startsWith('*') && host.endsWith(name.slice(1))) return 2000 + name.length
    return name.endsWith('*') && host.startsWith(name.slice(0, -1)) ? 1000 + name.length : 0
  }
  const ranked = routeConfig.at('virtual_hosts').items.map((one) => ({ one, rank: Math.max(0, ...one.at('domains').texts.map(rank)) }))
  return ranked.filter((one) => one.rank > 0).sort((a, b) => b.rank - a.rank)[0]?.one
}

type Answer = 'yes' | 'no' | 'maybe'

/** Members of a RouteMatch that say what is looked at here; any other one may match or not. */
const understood = new Set(['path', 'prefix', 'path_separated_prefix', 'safe_regex', 'case_sensitive', 'headers'])

function matches(match: Setting, { method, path }: Sample): Answer {
  const byPath = pathMatches(match, path)
  if (byPath === 'no') return 'no'
  let answer: Answer = byPath
  for (const header of match.at('headers').items) {
    const one = headerMatches(header, method)
    if (one === 'no') return 'no'
    if (one === 'maybe') answer = 'maybe'
  }
  const more = match.members.some(([name]) => !understood.has(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)))
  return more ? 'maybe' : answer
}

function pathMatches(match: Setting, path: string): Answer {
  const folded = match.at('case_sensitive').boolean === false
  const fold = (text: string): string => (folded ? text.toLowerCase() : text)
  const asked = fold(path)
  const of = (name: string): string | undefined => {
    const { text } = match.at(name)
    return text === undefined ? undefined : fold(text)
  }
  const sure = (yes: boolean): Answer => (yes ? 'yes' : 'no')
  const exact = of('path')
  if (exact !== undefined) return sure(asked === exact)
  const prefix = of('prefix')
  if (prefix !== undefined) return sure(asked.startsWith(prefix))
  const separated = of('path_separated_prefix')
  if (separated !== undefined) return sure(asked === separated || asked.startsWith(`${separated}/`))
  return regexMatches(match.at('safe_regex', 'regex').text, path)
}

/** The whole text, as Envoy matches. What JavaScript cannot read of RE2's syntax may match. */
function regexMatches(regex: string | undefined, text: string): Answer {
  if (regex === undefined) return 'maybe'
  try {
    return new RegExp(`^(?:${regex})$`).test(text) ? 'yes' : 'no'
  } catch {
    return 'maybe'
  }
}

/** Of headers the method alone is known. */
function headerMatches(header: Setting, method: string): Answer {
  if (header.at('name').text !== ':method') return 'maybe'
  const exact = header.at('string_match', 'exact').text ?? header.at('exact_match').text
  const regex = header.at('string_match', 'safe_regex', 'regex').text ?? header.at('safe_regex_match', 'regex').text
  const answer = exact === undefined ? regexMatches(regex, method) : exact === method ? 'yes' : 'no'
  if (answer === 'maybe' || !header.at('invert_match').on) return answer
  return answer === 'yes' ? 'no' : 'yes'
}
