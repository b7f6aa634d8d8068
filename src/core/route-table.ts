import type { TemplateSegment } from './path-template.ts'
import type { Route } from './route.ts'

/** A route with what it is matched on, as the policy file has it. */
export interface RouteEntry {
  readonly route: Route
  /** Lower case: exact, `*.suffix`, or undefined for any host. */
  readonly host: string | undefined
  readonly methods: readonly string[]
  readonly segments: readonly TemplateSegment[]
}

/** What a path matched: the routes at that place by method, and the parameters of the one asked for. */
export interface PathMatch {
  readonly methods: Methods
  /** Decoded segments that stood for parameters and wildcards, from left to right. */
  readonly captured: readonly string[]
}

/** The routes at one place: few, as they differ by method alone. */
export class Methods {
  readonly #entries: RouteEntry[] = []

  add(entry: RouteEntry): void {
    this.#entries.push(entry)
  }

  /** The route for a method, letter by letter. */
  get(method: string): RouteEntry | undefined {
    for (const entry of this.#entries) if (entry.methods.includes(method)) return entry
    return undefined
  }
}

// A policy of many routes is mostly these: what a place does not have costs no more than its field.
interface Node {
  statics: Map<string, Node> | undefined
  any: Node | undefined // {param}: all names share one place
  star: Node | undefined
  here: Methods | undefined
  rest: Methods | undefined
}

const node = (): Node => ({ statics: undefined, any: undefined, star: undefined, here: undefined, rest: undefined })

/**
 * Routes as one tree of segments for each host, so that a thousand cost what ten do. Precedence, segment by
 * segment from left to right: static, parameter, `*`, `**`. The choice of the host is final, and so is that
 * of the most specific path: a method it lacks is not looked for elsewhere.
 */
export class RouteTable {
  readonly routes: readonly Route[]
  readonly #exact = new Map<string, Node>()
  readonly #suffixes = new Map<string, Node>() // ".agents.example" → tree
  #anyHost: Node | undefined

  /** Entries must not conflict: see {@link conflicts}. */
  constructor(entries: readonly RouteEntry[]) {
    this.routes = entries.map((entry) => entry.route)
    for (const entry of entries) insert(this.#treeFor(entry.host), entry)
  }

  #treeFor(host: string | undefined): Node {
    if (host === undefined) {
      this.#anyHost ??= node()
      return this.#anyHost
    }
    const [map, key] = host.startsWith('*.') ? [this.#suffixes, host.slice(1)] : [this.#exact, host]
    const tree = map.get(key) ?? node()
    map.set(key, tree)
    return tree
  }

  #chooseHost(host: string): Node | undefined {
    const exact = this.#exact.get(host)
    if (exact) return exact
    if (this.#suffixes.size > 0) {
      // The longest suffix wins, as in Envoy's virtual hosts; the part under `*` is never empty.
      for (let dot = host.indexOf('.', 1); dot !== -1; dot = host.indexOf('.', dot + 1)) {
        const tree = this.#suffixes.get(host.slice(dot))
        if (tree) return tree
      }
    }
    return this.#anyHost
  }

  /**
   * Finds the place that a path matches.
   * @param host lower case, without port
   * @param segments decoded; a trailing slash is an empty last one
   * @param escaped indices of segments that were spelled with escapes: no static segment matches them, as none does in Envoy
   * @returns `ambiguous` where a static segment would match but for such an escape: the upstream may well take it for that
   */
  find(host: string, segments: readonly string[], escaped?: ReadonlySet<number>): PathMatch | 'ambiguous' | undefined {
    const tree = this.#chooseHost(host)
    if (!tree) return undefined
    const captured: string[] = []
    const found = walk(tree, segments, 0, captured, escaped)
    if (!found || found === ambiguous) return found
    // `/x/` never falls to a wildcard where a route for `/x` exists.
    if (found.byRest && segments.at(-1) === '') {
      const bare = walk(tree, segments.slice(0, -1), 0, [], escaped)
      if (bare && (bare === ambiguous || !bare.byRest)) return undefined
    }
    return { methods: found.routes, captured }
  }
}

interface Found {
  readonly routes: Methods
  readonly byRest: boolean
}
const ambiguous = 'ambiguous'

// Each node of the tree belongs to one depth of the path, so no node is visited twice for one request.
function walk(
  at: Node,
  segments: readonly string[],
  depth: number,
  captured: string[],
  escaped: ReadonlySet<number> | undefined,
): Found | typeof ambiguous | undefined {
  const segment = segments[depth]
  if (segment === undefined) {
    if (at.here) return { routes: at.here, byRest: false }
    return at.rest && { routes: at.rest, byRest: true }
  }
  const fixed = at.statics?.get(segment)
  if (fixed && escaped?.has(depth)) return ambiguous
  if (fixed) {
    const found = walk(fixed, segments, depth + 1, captured, escaped)
    if (found) return found
  }
  if (segment !== '') {
    for (const child of [at.any, at.star]) {
      if (!child) continue
      captured.push(segment)
      const found = walk(child, segments, depth + 1, captured, escaped)
      if (found) return found
      captured.pop()
    }
  }
  return at.rest && { routes: at.rest, byRest: true }
}

function place(tree: Node, segments: readonly TemplateSegment[]): { at: Node; rest: boolean } {
  let at = tree
  for (const segment of segments) {
    if (segment.kind === 'rest') return { at, rest: true }
    if (segment.kind === 'static') {
      at.statics ??= new Map()
      const next = at.statics.get(segment.text) ?? node()
      at.statics.set(segment.text, next)
      at = next
    } else if (segment.kind === 'param') {
      at.any ??= node()
      at = at.any
    } else {
      at.star ??= node()
      at = at.star
    }
  }
  return { at, rest: false }
}

function insert(tree: Node, entry: RouteEntry): void {
  const { at, rest } = place(tree, entry.segments)
  const methods = (rest ? at.rest : at.here) ?? new Methods()
  if (rest) at.rest = methods
  else at.here = methods
  methods.add(entry)
}

/** The place of an entry in words, alike for two entries exactly where they match equally. */
const placeKey = (entry: RouteEntry): string =>
  `${entry.host ?? ''} ${entry.segments.map((s) => (s.kind === 'static' ? `/${s.text}` : s.kind === 'param' ? '/{}' : s.kind === 'star' ? '/*' : '/**')).join('')}`

/** Pairs of entries that match equally: the same host, shape of path, and a method in common. The later one is first. */
export function conflicts(entries: readonly RouteEntry[]): [later: RouteEntry, earlier: RouteEntry, method: string][] {
  const seen = new Map<string, RouteEntry>()
  const found: [RouteEntry, RouteEntry, string][] = []
  for (const entry of entries) {
    for (const method of entry.methods) {
      const key = `${method} ${placeKey(entry)}`
      const earlier = seen.get(key)
      if (earlier) found.push([entry, earlier, method])
      else seen.set(key, entry)
    }
  }
  return found
}

const noParams: ReadonlyMap<string, string> = new Map()

/** The parameters of the route at a match, by name: a param takes one captured segment, so does `*`. */
export function paramsOf(entry: RouteEntry, captured: readonly string[]): ReadonlyMap<string, string> {
  let params: Map<string, string> | undefined
  let i = 0
  for (const segment of entry.segments) {
    if (segment.kind === 'param') {
      params ??= new Map()
      params.set(segment.name, captured[i++]!)
    } else if (segment.kind === 'star') i++
  }
  return params ?? noParams
}
