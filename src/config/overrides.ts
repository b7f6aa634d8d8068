import type { z } from 'zod'
import { isShortName, logLevels, namedSettings } from './env-names.ts'
import { type Path, pathText, type Report } from './faults.ts'
import { alternatives, under } from './zod-walk.ts'

/** Variables that begin like overrides and are none: of the command line, scripts and tests. */
const others = /^POSTERN_(?:TEST_.*|CACHE|NODE|ENVOY|REDIS|KEYCLOAK|DEX|CONFIG|CONNECTION|ADMIN_URL|ISSUER_URL|CLIENT_SECRET)$/

type Env = Readonly<Record<string, string | undefined>>
interface Place {
  readonly path: Path
  readonly kinds: ReadonlySet<string>
}

/** What the environment changed. */
export interface Overrides {
  /** Path as text → the variable that set it, or the two that did. */
  readonly applied: ReadonlyMap<string, string>
  /** The same, as paths, sorted by variable. */
  readonly changes: readonly { readonly path: Path; readonly variable: string }[]
  /** Variables that fit no setting. */
  readonly strangers: readonly string[]
}

/**
 * Puts the values of `POSTERN_…` variables into the data, before it is parsed. A name is the path in upper
 * case, joined with `_`, and what is no letter or digit as `_`; entries of lists go by their name or id. Some settings have a
 * short name too (env-names.ts).
 * @param data is changed
 * @param referenced variables that the file itself refers to: no overrides
 */
export function applyOverrides(schema: z.ZodType, data: unknown, env: Env, referenced: ReadonlySet<string>, report: Report): Overrides {
  const applied = new Map<string, string>()
  const changes: { path: Path; variable: string }[] = []
  const strangers: string[] = []
  const names = Object.keys(env).filter((name) => name.startsWith('POSTERN_') && env[name] !== undefined && !others.test(name))
  if (names.length === 0 || typeof data !== 'object' || data === null) return { applied, changes, strangers }
  const places = new Map<string, Place[]>()
  collect([schema], data, [], 'POSTERN', places, beginnings(names))
  for (const name of names.sort()) {
    if (isShortName(name)) continue
    const [place, second] = places.get(name) ?? []
    if (!place) {
      if (!referenced.has(name)) strangers.push(name)
    } else if (second) {
      report(
        place.path,
        `the environment variable "${name}" could mean ${pathText(place.path)} or ${pathText(second.path)}: rename one of them`,
      )
    } else if (!refersTo(data, place.path, name) && put(data, place.path, overriding(place, env[name] ?? ''))) {
      applied.set(pathText(place.path), name)
      changes.push({ path: place.path, variable: name })
    }
  }
  const given = Object.fromEntries(names.filter((name) => isShortName(name) && !referenced.has(name)).map((name) => [name, env[name]]))
  for (const { path, value, variables } of namedSettings(given, at(data, ['listen', 'issuer', 'address']), report)) {
    const place = pathText(path)
    const long = [...applied].find(([set]) => set === place || set.startsWith(`${place}.`))?.[1]
    if (long !== undefined) {
      report(path, `the environment variables "${variables.join('" and "')}" and "${long}" both set it: write one of them`)
    } else if (put(data, path, value)) {
      applied.set(place, variables.join(' and '))
      for (const variable of variables) changes.push({ path, variable })
    }
  }
  return { applied, changes, strangers }
}

const at = (data: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (value, step) => (typeof value === 'object' && value !== null ? (value as Record<string | number, unknown>)[step] : undefined),
    data,
  )

const overriding = ({ path, kinds }: Place, text: string): unknown =>
  toValue(pathText(path) === 'log.level' ? (logLevels.get(text) ?? text) : text, kinds)

/** `admin.secret: "${env:POSTERN_ADMIN_SECRET}"` says what the override would. */
function refersTo(data: object, path: Path, variable: string): boolean {
  const value = at(data, path)
  return typeof value === 'string' && value.includes(`\${env:${variable}}`)
}

const scalars = new Set(['string', 'number', 'int', 'boolean', 'enum', 'literal', 'null'])
const upper = (key: string): string => key.toUpperCase().replace(/[^A-Z0-9]/g, '_')

/** `POSTERN_A_B` → `POSTERN`, `POSTERN_A`, `POSTERN_A_B`: elsewhere nothing is looked for. */
function beginnings(names: readonly string[]): ReadonlySet<string> {
  const all = new Set(names)
  for (const name of names) for (let at = name.indexOf('_'); at !== -1; at = name.indexOf('_', at + 1)) all.add(name.slice(0, at))
  return all
}

function collect(
  schemas: readonly z.ZodType[],
  value: unknown,
  path: Path,
  name: string,
  places: Map<string, Place[]>,
  wanted: ReadonlySet<string>,
): void {
  const defs = schemas.flatMap(alternatives)
  const kinds = new Set(defs.flatMap((def) => (def.type === 'literal' ? (def.values ?? []).map((one) => typeof one) : [def.type])))
  if ([...kinds].some((kind) => scalars.has(kind))) {
    const known = places.get(name)
    if (known) known.push({ path, kinds })
    else places.set(name, [{ path, kinds }])
  }
  const go = (step: string | number, key: string): void => {
    const below = `${name}_${upper(key)}`
    if (wanted.has(below)) descend(step, below)
  }
  const descend = (step: string | number, name: string): void => {
    const below = schemas.flatMap((schema) => under(schema, step))
    const member = typeof value === 'object' && value !== null ? (value as Record<string | number, unknown>)[step] : undefined
    collect(below, member, [...path, step], name, places, wanted)
  }
  for (const key of new Set(defs.flatMap((def) => Object.keys(def.shape ?? {})))) go(key, key)
  if (defs.some((def) => def.valueType) && typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const key of Object.keys(value)) go(key, key)
  }
  if (defs.some((def) => def.element) && Array.isArray(value)) {
    for (const [i, entry] of value.entries()) {
      const id = typeof entry === 'object' && entry !== null ? (entry.id ?? entry.name) : undefined
      if (typeof id === 'string') go(i, id)
    }
  }
}

function toValue(text: string, kinds: ReadonlySet<string>): unknown {
  if (kinds.has('boolean') && (text === 'true' || text === 'false')) return text === 'true'
  if ((kinds.has('number') || kinds.has('int')) && /^-?\d+(?:\.\d+)?$/.test(text)) return Number(text)
  if (kinds.has('null') && text === 'null') return null
  return text
}

function put(data: object, path: Path, value: unknown): boolean {
  let at = data as Record<string | number, unknown>
  for (const step of path.slice(0, -1)) {
    const next = at[step] ?? {}
    if (typeof next !== 'object') return false
    at[step] = next
    at = next as Record<string | number, unknown>
  }
  const last = path.at(-1)
  if (last === undefined) return false
  at[last] = value
  return true
}
