import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import type { Policy } from '../core/policy.ts'
import type { RouteEntry } from '../core/route-table.ts'
import { checkBroker } from './check-broker.ts'
import { checkFederation } from './check-federation.ts'
import { checkIdentity } from './check-identity.ts'
import { checkClientKeys, checkClients } from './check-issuer.ts'
import { checkListen } from './check-listen.ts'
import { checkRealms } from './check-realms.ts'
import { checkSeedTokens } from './check-seed.ts'
import { checkStores } from './check-stores.ts'
import { compilePolicy, compileRoutes } from './compile.ts'
import { openParser, parserHere } from './document-process.ts'
import { type Draft, parseDraft, settingsOf, wholeSchema } from './draft.ts'
import { type Fault, type Path, pathText, type Report, sortFaults } from './faults.ts'
import { absoluteFiles, pemFiles } from './files.ts'
import { warnOfUnsafe } from './lint.ts'
import { applyOverrides, type Overrides } from './overrides.ts'
import { fillRealm } from './realm.ts'
import { realmExpected, realmName, type Settings } from './schema.ts'
import { hasReference, Secret } from './secret.ts'
import { bearsSecret, checkPrivate, checkReadable, checkReferences, eachText, openSecrets } from './secret-settings.ts'
import { Sources } from './sources.ts'
import { Turns } from './turns.ts'

export interface ReadOptions {
  /** The main file. Relative paths in it are taken from its folder. */
  readonly file: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Overrides `realm` of the file; where it names several realms, the one that is read. */
  readonly realm?: string | undefined
  /** Where the main file names several realms: the file of the one that is read. */
  readonly tenant?: string | undefined
  /** `warn`: secrets and key files that cannot be had here are warnings, for checks on another machine. */
  readonly secrets?: 'require' | 'warn'
  /** Told when a secret file can no longer be read; the last good value stays in use. */
  readonly onSecretFault?: (message: string) => void
  /**
   * The policy is read to be served: YAML is parsed in a process of its own, and `routes` of the settings is left
   * empty, since a service needs them compiled alone.
   */
  readonly serving?: boolean
}

/** A policy that was read whole and without faults. */
export interface Loaded {
  readonly settings: Settings
  readonly policy: Policy
  readonly warnings: readonly Fault[]
  /** First 12 hex digits of the SHA-256 of all that was read, but secrets. */
  readonly revision: string
  /** Absolute paths of all files read, targets of symbolic links and secret files among them. */
  readonly watched: readonly string[]
  /** Where the main file names several realms, of which this is one: its file, as messages show it. */
  readonly tenant: string | undefined
  /** By path: what is told where a setting changed that a running service cannot take over. */
  readonly unchanging: ReadonlyMap<string, Fault>
}

export type ReadResult =
  | { readonly ok: true; readonly loaded: Loaded }
  | {
      readonly ok: false
      readonly faults: readonly Fault[]
      readonly watched: readonly string[]
      /** The main file names several realms, in these files, and none of them was chosen. */
      readonly tenants?: readonly string[]
    }

/**
 * Reads a policy file with its includes, overrides and secrets, checks it and compiles it. What takes long is done in
 * turns of a few milliseconds, so that checks go on beside it.
 * @returns the policy, or all faults of all files at once
 */
export async function readPolicy(options: ReadOptions): Promise<ReadResult> {
  const turns = new Turns()
  const parser = options.serving ? openParser(turns) : parserHere
  const { realm, tenant } = options
  const sources = await Sources.read(options.file, parser, { realm, tenant }).finally(parser.close)
  const { report, data, tenants } = sources
  const isTenant = sources.tenant !== undefined
  if (tenants && !isTenant) return { ok: false, faults: sources.faults, watched: watchedFiles(sources, []), tenants }
  const broken = Object.keys(data).length === 0 && sources.faults.length > 0
  if (broken) return { ok: false, faults: sources.faults, watched: watchedFiles(sources, []) }

  const overrides = applyOverrides(wholeSchema, data, options.env, await referenced(data, turns), report)
  sources.overriddenBy(overrides.applied)
  await checkReferences(data, turns, report)
  const revision = revisionOf(sources, overrides, options)
  const warnings: Fault[] = []
  const warn: Report = (path, message, aim) => {
    warnings.push(sources.fault(path, message, aim))
  }

  if (options.realm !== undefined && !realmName.test(options.realm)) report(['realm'], `in --realm: ${realmExpected}`)
  sources.nextPass()
  const parsed = await parseDraft(data, turns, report)
  sources.nextPass()
  if (isTenant) checkRealms(parsed, overrides, report)
  const draft = absoluteFiles(fillRealm(parsed, options.realm ?? parsed.sections.realm, isTenant), dirname(resolve(options.file)))
  const { entries, secretFiles } = await check(draft, sources, overrides, options, turns, warn)
  const watched = watchedFiles(sources, secretFiles)
  if (sources.faults.length > 0) return { ok: false, faults: sortFaults(unique(sources.faults), sources.shown), watched }

  await warnOfUnsafe(draft, entries, turns, warn)
  for (const name of overrides.strangers)
    warn([], `the environment variable "${name}" fits no setting: write the path of one in upper case, joined with "_"`)
  const settings = settingsOf(draft)
  const policy = compilePolicy(settings, entries, revision)
  return {
    ok: true,
    loaded: {
      settings: options.serving ? { ...settings, routes: [] } : settings,
      policy,
      warnings: sortFaults(warnings, sources.shown),
      revision,
      watched,
      tenant: sources.tenant,
      // Told now, while the places are known: what they are known from is far larger than the policy.
      unchanging: new Map(
        unchanging.map(({ path }) => {
          const setting = pathText(path)
          return [setting, sources.fault(path, `"${setting}" cannot change while the service runs: restart it, or write the old value`)]
        }),
      ),
    },
  }
}

/** All checks of what could be parsed. */
async function check(
  draft: Draft,
  sources: Sources,
  overrides: Overrides,
  options: ReadOptions,
  turns: Turns,
  warn: Report,
): Promise<{ readonly entries: RouteEntry[]; readonly secretFiles: string[] }> {
  const { report } = sources
  if (draft.sections.listen) checkListen(draft.sections.listen, report)
  checkIdentity(draft, report)
  checkStores(draft, report)
  checkSeedTokens(draft, report)
  checkBroker(draft, report)
  checkClients(draft, report)
  checkFederation(draft, report)
  for (const [i, route] of draft.routes.entries()) if (route) sources.checkOwns(i, route.host, route.path)
  const entries = await compileRoutes(draft, turns, report)
  const missing = options.secrets === 'warn' ? warn : report
  const context = {
    env: options.env,
    folder: dirname(resolve(options.file)),
    now: () => performance.now(),
    onFault: options.onSecretFault ?? (() => {}),
  }
  const secretFiles = openSecrets(
    { ...draft.sections, identity: draft.identity } as Partial<Settings>,
    context,
    new Set(overrides.applied.keys()),
    missing,
    report,
    warn,
  )
  checkClientKeys(draft, missing)
  for (const { file, path, key } of pemFiles(draft)) {
    checkReadable(file, path, missing)
    if (key) checkPrivate(file, path, missing, warn)
  }
  return { entries, secretFiles }
}

/** Environment variables that the file refers to. */
async function referenced(data: unknown, turns: Turns): Promise<ReadonlySet<string>> {
  const names = new Set<string>()
  await eachText(data, turns, (text) => {
    if (hasReference(text)) for (const name of new Secret(text).variables) names.add(name)
  })
  return names
}

function revisionOf(sources: Sources, overrides: Overrides, options: ReadOptions): string {
  const hash = createHash('sha256')
  const add = (text: string | Uint8Array): void => {
    hash.update(`${text.length}:`).update(text)
  }
  const folder = dirname(resolve(options.file))
  for (const [file, bytes] of sources.contents) {
    add(relative(folder, file))
    add(bytes)
  }
  // That of several realms is in its file, however it was chosen.
  add(sources.tenant !== undefined ? '' : (options.realm ?? ''))
  for (const { path, variable } of overrides.changes) {
    add(variable)
    if (!bearsSecret(path)) add(options.env[variable] ?? '')
  }
  return hash.digest('hex').slice(0, 12)
}

function watchedFiles(sources: Sources, secretFiles: readonly string[]): string[] {
  const files = new Set<string>([...sources.shown.map((file) => resolve(file)), ...secretFiles])
  for (const file of [...files]) {
    try {
      files.add(realpathSync(file))
    } catch {
      // What is not there is watched for its coming.
    }
  }
  return [...files]
}

/** One sentence at one place, once. */
function unique(faults: readonly Fault[]): Fault[] {
  return [...new Map(faults.map((fault) => [`${fault.file}:${fault.line}:${fault.column}:${fault.message}`, fault])).values()]
}

/** What a running service cannot take over. */
const unchanging: readonly { readonly path: Path; readonly of: (settings: Settings) => unknown }[] = [
  ...(['check', 'ext_proc', 'admin', 'issuer'] as const).map((name) => ({
    path: ['listen', name],
    of: ({ listen }: Settings) => exceptAllow(listen[name]),
  })),
  { path: ['state'], of: ({ state }) => state },
  { path: ['realm'], of: ({ realm }) => realm },
  { path: ['workers'], of: ({ workers }) => workers },
  { path: ['issuer', 'keys'], of: ({ issuer }) => issuer.keys },
  // Keys are opened at the start, where something is minted.
  { path: ['admin', 'secret'], of: ({ listen, admin }) => listen.issuer === undefined && admin.secret !== undefined },
  { path: ['admin', 'audience'], of: ({ admin }) => admin.audience },
]

/** Who may ask is told to listeners that are open; all else of them is for as long as they are. */
const exceptAllow = (listener: Settings['listen']['check' | 'admin']) =>
  listener && { ...listener, tls: { ...listener.tls, allow: undefined } }

/**
 * What changed between two policies that a running service cannot take over.
 * @returns a fault for each listener that changed, and for the state; the new policy is then refused
 */
export const restartNeeded = (old: Loaded, next: Loaded): Fault[] =>
  unchanging.flatMap(({ path, of }) => {
    const fault = next.unchanging.get(pathText(path))
    return fault && !same(of(old.settings), of(next.settings)) ? [fault] : []
  })

function same(a: unknown, b: unknown): boolean {
  if (a instanceof Secret || b instanceof Secret) return a instanceof Secret && b instanceof Secret && a.sameReference(b)
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...keys].every((key) => same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
}
