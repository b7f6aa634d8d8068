import type { PolicyRoute } from './policy-routes.ts'
import { entriesOf, type Route, routesOf } from './routes.ts'
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

type Answer = 'yes' | 'no' | 'maybe'
type Matcher = (sample: Sample) => Answer

/** A route configuration, made ready for many requests. */
export interface Taking {
  readonly config: Setting
  readonly routes: readonly Route[]
  /** The routes that a request may take: the first that surely matches, and those before it that match where more is known of it. */
  readonly taken: (sample: Sample) => readonly Route[]
}

export function takingOf(config: Setting): Taking {
  const routes = routesOf(config)
  const byEntry = new Map<string, Route[]>()
  const keyOf = (entry: Setting): string => `${entry.place.file} ${entry.pathText}`
  for (const route of routes) byEntry.set(keyOf(route.entry), [...(byEntry.get(keyOf(route.entry)) ?? []), route])
  const hosts = config.at('virtual_hosts').items.map((host) => ({
    domains: host.at('domains').texts.map((domain) => withoutPort(domain).toLowerCase()),
    entries: entriesOf(host).map((entry) => ({ matches: matcher(entry.at('match')), routes: byEntry.get(keyOf(entry)) ?? [] })),
  }))
  const entriesAt = new Map<string, (typeof hosts)[number]['entries']>()
  const entriesFor = (host: string) => {
    let found = entriesAt.get(host)
    if (!found) {
      const ranked = hosts.map(({ domains, entries }) => ({ entries, rank: Math.max(0, ...domains.map((domain) => rankOf(domain, host))) }))
      found = ranked.filter(({ rank }) => rank > 0).sort((one, other) => other.rank - one.rank)[0]?.entries ?? []
      entriesAt.set(host, found)
    }
    return found
  }
  return {
    config,
    routes,
    taken: (sample) => {
      const all: Route[] = []
      for (const entry of entriesFor(sample.host)) {
        const answer = entry.matches(sample)
        if (answer === 'no') continue
        all.push(...entry.routes)
        if (answer === 'yes') break
      }
      return all
    },
  }
}

/** As Envoy chooses: exact, the longest `*suffix`, the longest `prefix*`, `*`; 0 where the domain is another. */
function rankOf(domain: string, host: string): number {
  if (domain === host) return 3000
  if (domain === '*') return 1
  if (domain.startsWith('*') && host.endsWith(domain.slice(1))) return 2000 + domain.length
  return domain.endsWith('*') && host.startsWith(domain.slice(0, -1)) ? 1000 + domain.length : 0
}

/** Members of a RouteMatch that say what is looked at here; any other one may match or not. */
const understood = new Set(['path', 'prefix', 'path_separated_prefix', 'safe_regex', 'case_sensitive', 'headers'])

function matcher(match: Setting): Matcher {
  const byPath = pathMatcher(match)
  const headers = match.at('headers').items.map(methodMatcher)
  const more = match.members.some(([name]) => !understood.has(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)))
  return ({ method, path }) => {
    const first = byPath(path)
    if (first === 'no') return 'no'
    const answers = headers.map((one) => one(method))
    if (answers.includes('no')) return 'no'
    return more || answers.includes('maybe') ? 'maybe' : first
  }
}

type TextMatcher = (text: string) => Answer
const sure = (yes: boolean): Answer => (yes ? 'yes' : 'no')

function pathMatcher(match: Setting): TextMatcher {
  const folded = match.at('case_sensitive').boolean === false
  const fold = (text: string): string => (folded ? text.toLowerCase() : text)
  const of = (name: string): string | undefined => {
    const { text } = match.at(name)
    return text === undefined ? undefined : fold(text)
  }
  const [exact, prefix, separated] = [of('path'), of('prefix'), of('path_separated_prefix')]
  if (exact !== undefined) return (path) => sure(fold(path) === exact)
  if (prefix !== undefined) return (path) => sure(fold(path).startsWith(prefix))
  if (separated !== undefined) return (path) => sure(fold(path) === separated || fold(path).startsWith(`${separated}/`))
  return regexMatcher(match.at('safe_regex', 'regex').text)
}

/** The whole text, as Envoy matches. What JavaScript cannot read of RE2's syntax may match. */
function regexMatcher(regex: string | undefined): TextMatcher {
  if (regex === undefined) return () => 'maybe'
  try {
    const whole = new RegExp(`^(?:${regex})$`)
    return (text) => sure(whole.test(text))
  } catch {
    return () => 'maybe'
  }
}

/** Of headers the method alone is known. */
function methodMatcher(header: Setting): TextMatcher {
  if (header.at('name').text !== ':method') return () => 'maybe'
  const exact = header.at('string_match', 'exact').text ?? header.at('exact_match').text
  const regex = header.at('string_match', 'safe_regex', 'regex').text ?? header.at('safe_regex_match', 'regex').text
  const plain: TextMatcher = exact === undefined ? regexMatcher(regex) : (method) => sure(method === exact)
  if (!header.at('invert_match').on) return plain
  return (method) => ({ yes: 'no', no: 'yes', maybe: 'maybe' })[plain(method)] as Answer
}
