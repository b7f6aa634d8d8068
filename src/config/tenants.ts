import { glob } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { wholeSchema } from './draft.ts'
import type { Path, Report } from './faults.ts'

type Tree = Readonly<Record<string, unknown>>

/** Which of several realms is to be read; neither: the file is one realm, or it is asked which there are. */
export interface RealmChoice {
  /** By its name. */
  readonly realm?: string | undefined
  /** By its file, absolute or from the working directory. */
  readonly tenant?: string | undefined
}

/** What the processes of several realms have in common; all else belongs to a realm. `issuer` is divided: its `keys` are common. */
const common: ReadonlySet<string> = new Set([
  ...['version', 'realms', 'listen', 'state', 'admin', 'workers', 'check', 'log', 'errors'],
  'issuer',
])

/** Settings of `issuer` that the processes have in common. */
const commonOfIssuer = 'keys'

/** Whether a setting, of which neither file says where it stands, is one of the main file. */
export function isCommon([section, member]: Path): boolean {
  if (section === 'issuer') return member === commonOfIssuer
  return section === undefined || common.has(String(section))
}

/** Whether the name is one that the format knows. */
const known = (section: string): boolean => Object.hasOwn(wholeSchema.shape, section)

/** The files that `realms` names, from the folder of the main file, sorted, as messages show them. @param patterns the raw list */
export async function findTenants(main: string, patterns: unknown): Promise<string[]> {
  const folder = dirname(resolve(main))
  const found = new Set<string>()
  for (const pattern of Array.isArray(patterns) ? patterns : []) {
    if (typeof pattern !== 'string' || pattern === '') continue
    for await (const match of glob(pattern, { cwd: folder })) found.add(resolve(folder, match))
  }
  found.delete(resolve(main))
  return [...found].sort().map((file) => join(dirname(main), relative(folder, file)))
}

/**
 * Puts the main file and that of one realm together, as if they were one. What stands in the wrong one of them is told, and left out.
 * @param inMain notes a fault of the main file; `inTenant` one of the realm's
 */
export function joinTenant(main: Tree, tenant: Tree, inMain: Report, inTenant: Report): Record<string, unknown> {
  refuseTenantsOwn(main, inMain)
  if (tenant['version'] === undefined) inTenant(['version'], '"version" is missing: expected 1')
  else if (tenant['version'] !== 1) inTenant(['version'], 'expected 1')
  if (tenant['realm'] === undefined) inTenant(['realm'], '"realm" is missing: expected the name of the realm that this file is')
  const joined: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(main)) if (common.has(name) || !known(name)) joined[name] = value
  for (const [name, value] of Object.entries(tenant)) {
    if (name === 'issuer') joined[name] = joinIssuer(main['issuer'], value, inTenant)
    else if (!common.has(name)) joined[name] = value
    else if (name !== 'version') inTenant([name], `"${name}" is of the whole process: expected it in the main file alone`, { at: 'key' })
  }
  return joined
}

/** Tells what a main file that names realms may not say. */
export function refuseTenantsOwn(main: Tree, inMain: Report): void {
  for (const name of Object.keys(main))
    if (known(name) && !common.has(name))
      inMain([name], `"${name}" is of one realm, and this file names several: expected it in the files under realms`, { at: 'key' })
  const { issuer } = main
  if (!isTree(issuer)) return
  for (const name of Object.keys(issuer))
    if (name !== commonOfIssuer)
      inMain(['issuer', name], `"${name}" is of one realm, and this file names several: expected it in the files under realms`, {
        at: 'key',
      })
}

/** The issuer of a realm, with the keys of the main file. */
function joinIssuer(main: unknown, tenant: unknown, inTenant: Report): unknown {
  if (!isTree(tenant)) return tenant
  const { keys, ...own } = tenant
  if (keys !== undefined) inTenant(['issuer', 'keys'], '"keys" is of the whole process: expected it in the main file alone', { at: 'key' })
  return isTree(main) && main['keys'] !== undefined ? { ...own, keys: main['keys'] } : own
}

const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value)
