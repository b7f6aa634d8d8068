import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import type { Policy } from '../core/policy.ts'
import type { RouteEntry } from '../core/route-table.ts'
import { checkIdentity } from './check-identity.ts'
import { checkListen } from './check-listen.ts'
import { checkStores } from './check-stores.ts'
import { compilePolicy, compileRoutes } from './compile.ts'
import { type Draft, parseDraft, settingsOf, wholeSchema } from './draft.ts'
import { type Fault, type Path, pathText, type Report, sortFaults } from './faults.ts'
import { absoluteFiles, pemFiles } from './files.ts'
import { warnOfUnsafe } from './lint.ts'
import { reportNotYet } from './not-yet.ts'
import { applyOverrides, type Overrides } from './overrides.ts'
import { fillRealm } from './realm.ts'
import { realmExpected, realmName, type Settings } from './schema.ts'
import { Secret } from './secret.ts'
import { bearsSecret, checkPrivate, checkReadable, checkReferences, eachText, openSecrets } from './secret-settings.ts'
import { Sources } from './sources.ts'

export interface ReadOptions {
  /** The main file. Relative paths in it are taken from its folder. */
  readonly file: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Overrides `realm` of the file. */
  readonly realm?: string | undefined
  /** `warn`: secrets and key files that cannot be had here are warnings, for checks on another machine. */
  readonly secrets?: 'require' | 'warn'
  /** Told when a secret file can no longer be read; the last good value stays in use. */
  readonly onSecretFault?: (message: string) => void
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
  /** The place of a setting, for faults that are found later. */
  readonly fault: (path: Path, message: string) => Fault
}

export type ReadResult =
  | { readonly ok: true; readonly loaded: Loaded }
  | { readonly ok: false; readonly faults: readonly Fault[]; readonly watched: readonly string[] }

/**
 * Reads a policy file with its includes, overrides and secrets, checks it and compiles it.
 * @returns the policy, or all faults of all files at once
 */
export async function readPolicy(options: ReadOptions): Promise<ReadResult> {
  const sources = await Sources.read(options.file)
  const { report, data } = sources
  const broken = Object.keys(data).length === 0 && sources.faults.length > 0
  if (broken) return { ok: false, faults: sources.faults, watched: watchedFiles(sources, []) }

  const overrides = applyOverrides(wholeSchema, data, options.env, referenced(data), report)
  sources.overriddenBy(overrides.applied)
  reportNotYet(data, report)
  checkReferences(data, report)
  const revision = revisionOf(sources, overrides, options)
  const warnings: Fault[] = []
  const warn: Report = (path, message, aim) => {
    warnings.push(sources.fault(path, message, aim))
  }

  if (options.realm !== undefined && !realmName.test(options.realm)) report(['realm'], `in --realm: ${realmExpected}`)
  sources.nextPass()
  const parsed = parseDraft(data, report)
  sources.nextPass()
  const draft = absoluteFiles(fillRealm(parsed, options.realm ?? parsed.sections.realm), dirname(resolve(options.file)))
  const { entries, secretFiles } = check(draft, sources, overrides, options, warn)
  const watched = watchedFiles(sources, secretFiles)
  if (sources.faults.length > 0) return { ok: false, faults: sortFaults(unique(sources.faults), sources.shown), watched }

  warnOfUnsafe(draft, entries, warn)
  for (const name of overrides.strangers)
    warn([], `the environment variable "${name}" fits no setting: write the path of one in upper case, joined with "_"`)
  const settings = settingsOf(draft)
  const policy = compilePolicy(settings, entries, revision)
  return {
    ok: true,
    loaded: {
      settings,
      policy,
      warnings: sortFaults(warnings, sources.shown),
      revision,
      watched,
      fault: (path, message) => sources.fault(path, message),
    },
  }
}

/** All checks of what could be parsed. */
function check(
  draft: Draft,
  sources: Sources,
  overrides: Overrides,
  options: ReadOptions,
  warn: Report,
): { readonly entries: RouteEntry[]; readonly secretFiles: string[] } {
  const { report } = sources
  if (draft.sections.listen) checkListen(draft.sections.listen, report)
  checkIdentity(draft, report)
  checkStores(draft, report)
  for (const [i, route] of draft.routes.entries()) if (route) sources.checkOwns(i, route.host, route.path)
  const entries = compileRoutes(draft, report)
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
  for (const { file, path, key } of pemFiles(draft)) {
    checkReadable(file, path, missing)
    if (key) checkPrivate(file, path, missing, warn)
  }
  return { entries, secretFiles }
}

/** Environment variables that the file refers to. */
function referenced(data: unknown): ReadonlySet<string> {
  const names = new Set<string>()
  eachText(data, (_, text) => {
    for (const name of new Secret(text).variables) names.add(name)
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
  add(options.realm ?? '')
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

/**
 * What changed between two policies that a running service cannot take over.
 * @returns a fault for each listener that changed, and for the state; the new policy is then refused
 */
export function restartNeeded(old: Loaded, next: Loaded): Fault[] {
  const faults: Fault[] = []
  const compare = (path: Path, before: unknown, after: unknown): void => {
    if (!same(before, after))
      faults.push(next.fault(path, `"${pathText(path)}" cannot change while the service runs: restart it, or write the old value`))
  }
  for (const name of ['check', 'ext_proc', 'admin', 'issuer'] as const)
    compare(['listen', name], old.settings.listen[name], next.settings.listen[name])
  compare(['state'], old.settings.state, next.settings.state)
  compare(['realm'], old.settings.realm, next.settings.realm)
  compare(['workers'], old.settings.workers, next.settings.workers)
  compare(['issuer', 'keys'], old.settings.issuer.keys, next.settings.issuer.keys)
  // Keys are opened at the start, where something is minted.
  if (!old.settings.listen.issuer)
    compare(['admin', 'secret'], old.settings.admin.secret !== undefined, next.settings.admin.secret !== undefined)
  compare(['admin', 'audience'], old.settings.admin.audience, next.settings.admin.audience)
  return faults
}

function same(a: unknown, b: unknown): boolean {
  if (a instanceof Secret || b instanceof Secret) return a instanceof Secret && b instanceof Secret && a.sameReference(b)
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...keys].every((key) => same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
}
