import { z } from 'zod'
import { type Path, pathText, type Report } from './faults.ts'
import { parseTolerantly } from './parse.ts'
import { policyFile, type Settings } from './schema.ts'
import { type ValidatorSettings, validator } from './schema-identity.ts'
import { listen } from './schema-listen.ts'
import { type RouteSettings, route } from './schema-routes.ts'
import type { Turns } from './turns.ts'

// Built once: zod compiles a schema when it is first used.
export const wholeSchema = policyFile()
const sectionsSchema = wholeSchema
  .omit({ identity: true, routes: true })
  .extend({ version: z.literal(1).optional(), listen: listen().partial({ check: true }).optional() })
const validatorSchema = validator()
const routeSchema = route()

/** The sections of the file but `identity` and `routes`; those that are required may be missing or broken here. */
export type Sections = Omit<Settings, 'identity' | 'routes' | 'version' | 'listen'> & { readonly listen?: Listeners | undefined }

/** The listeners; that of check may be broken. */
export type Listeners = Omit<Settings['listen'], 'check'> & { readonly check?: Settings['listen']['check'] | undefined }

/**
 * What could be parsed of a file: enough to check all that is sound against each other, beside the faults.
 * Entries stay at their index; a broken one is undefined.
 */
export interface Draft {
  readonly sections: Sections
  readonly identity: readonly (ValidatorSettings | undefined)[]
  readonly routes: readonly (RouteSettings | undefined)[]
  /** Paths of what was wrong and left out. */
  readonly broken: ReadonlySet<string>
  /** Names that the file gives, of broken entries too: what may be referred to. */
  readonly named: {
    readonly validators: ReadonlySet<string>
    readonly roles: ReadonlySet<string>
    readonly sources: ReadonlySet<string>
    readonly sts: ReadonlySet<string>
    /** Whether the file has an issuer listener: without it nothing is minted. */
    readonly issuer: boolean
  }
}

type Tree = Readonly<Record<string, unknown>>
const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * Parses the data of a policy file, section by section and entry by entry.
 * @param data as it comes from YAML, with includes and overrides worked in; broken parts are taken out of it
 */
export async function parseDraft(data: Tree, turns: Turns, tell: Report): Promise<Draft> {
  const broken = new Set<string>()
  const report: Report = (path, message, aim) => {
    broken.add(pathText(path))
    tell(path, message, aim)
  }
  const { identity, routes, ...rest } = data
  const named = {
    validators: namesOf(identity),
    roles: keys(rest.roles),
    sources: keys(rest.sources),
    sts: keys(rest.sts),
    issuer: isTree(data.listen) ? data.listen.issuer !== undefined : data.listen !== undefined,
  }
  if (data.version === undefined) report(['version'], '"version" is missing: expected 1')
  if (data.listen === undefined) report(['listen'], '"listen" is missing: expected at least { check: { address: … } }')
  else if (isTree(data.listen) && data.listen.check === undefined)
    report(['listen', 'check'], '"check" is missing: expected { address: … }')
  const sections = parseTolerantly(sectionsSchema, rest, [], report, wholeSchema) ?? sectionsSchema.parse({})
  return {
    sections,
    identity: await parseEntries(validatorSchema, identity, ['identity'], 'a list of validators', turns, report),
    routes: await parseEntries(routeSchema, routes, ['routes'], 'a list of routes', turns, report),
    named,
    broken,
  }
}

const namesOf = (value: unknown): ReadonlySet<string> =>
  value === undefined || Array.isArray(value)
    ? new Set((value ?? []).flatMap((entry: unknown) => (isTree(entry) && typeof entry.name === 'string' ? [entry.name] : [])))
    : new AnyName()
const keys = (value: unknown): ReadonlySet<string> =>
  value === undefined || isTree(value) ? new Set(Object.keys(value ?? {})) : new AnyName()

/** Names of a section that is broken as a whole: whatever refers to it is no further fault. */
class AnyName extends Set<string> {
  override has(_: string): boolean {
    return true
  }
}

async function parseEntries<S extends z.ZodType>(
  schema: S,
  value: unknown,
  path: Path,
  what: string,
  turns: Turns,
  report: Report,
): Promise<(z.output<S> | undefined)[]> {
  if (!Array.isArray(value)) {
    report(path, value === undefined ? `"${path.join('.')}" is missing: expected ${what}` : `expected ${what}`)
    return []
  }
  const parsed: (z.output<S> | undefined)[] = []
  for (const [i, entry] of value.entries()) {
    if (turns.due) await turns.next()
    parsed.push(parseTolerantly(schema, entry, [...path, i], report))
  }
  return parsed
}

/** The settings of a draft that has no faults. */
export function settingsOf(draft: Draft): Settings {
  const { listen: listeners, ...sections } = draft.sections
  const check = listeners?.check
  if (!check) throw new Error('settings were asked of a draft with faults')
  return {
    ...sections,
    version: 1,
    listen: { ...listeners, check },
    identity: draft.identity.filter((entry) => entry !== undefined),
    routes: draft.routes.filter((entry) => entry !== undefined),
  }
}
