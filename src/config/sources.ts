import { readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { systemCode } from '../core/system-code.ts'
import { type SourceFile, sourceFile } from './document.ts'
import type { FileParser } from './document-process.ts'
import { type Aim, type Fault, type Path, pathText, type Report } from './faults.ts'
import { findIncluded, type Owns, outside } from './include.ts'
import { findTenants, isCommon, joinTenant, type RealmChoice, refuseTenantsOwn } from './tenants.ts'

type Tree = Record<string, unknown>
const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Faults of the settings that are told; whoever has more begins with these. */
const mostFaults = 1000

interface Origin {
  readonly source: SourceFile
  readonly path: Path
  readonly owns?: Owns | undefined
}

/** The main file and all that it includes, as one tree of data, with the way back from its paths to the files. */
export class Sources {
  readonly faults: Fault[] = []
  /** Absolute path → bytes, in the order read. */
  readonly contents = new Map<string, Uint8Array>()
  data: Tree = {}
  readonly #main: string
  readonly #parser: FileParser
  readonly #origins = new Map<string, Origin>()
  readonly #shown: string[] = []
  #overridden: ReadonlyMap<string, string> = new Map()
  #root: SourceFile | undefined
  #tenant: SourceFile | undefined
  /** Files of the realms that the main file names, as messages show them; undefined where it is one realm itself. */
  tenants: readonly string[] | undefined
  readonly #toldBefore = new Set<string>()
  readonly #toldNow = new Set<string>()

  private constructor(main: string, parser: FileParser) {
    this.#main = main
    this.#parser = parser
  }

  /** Reads a policy file, of several realms that it names the one that is chosen, and what is included. Files that cannot be read are faults. */
  static async read(main: string, parser: FileParser, choice: RealmChoice = {}): Promise<Sources> {
    const sources = new Sources(main, parser)
    const root = await sources.#open(main)
    if (!root) return sources
    sources.#root = root
    if (!isTree(root.data)) {
      if (root.faults.length === 0) sources.#add(root, [], 'expected a mapping of settings, such as "version: 1"')
      return sources
    }
    sources.data = root.data
    if (root.data.realms !== undefined) await sources.#choose(root, root.data, choice)
    const included = await findIncluded(main, sources.data.include, (path, message) => sources.faults.push(sources.fault(path, message)))
    for (const { path, owns } of included) {
      const shown = join(dirname(main), relative(dirname(resolve(main)), path))
      const source = await sources.#open(shown)
      if (source) sources.#merge(source, owns)
    }
    return sources
  }

  /** Joins the main file with that of the realm that is chosen. */
  async #choose(root: SourceFile, main: Tree, { realm, tenant }: RealmChoice): Promise<void> {
    const inMain: Report = (path, message, aim) => this.#add(root, path, message, aim)
    this.tenants = await findTenants(this.#main, main.realms)
    const chosen = tenant ?? (await this.#named(root, realm))
    if (chosen === undefined) return refuseTenantsOwn(main, inMain)
    const source = await this.#open(chosen)
    if (!source) return
    if (!isTree(source.data)) {
      if (source.faults.length === 0) this.#add(source, [], 'expected a mapping of settings, such as "version: 1"')
      return
    }
    this.#tenant = source
    this.data = joinTenant(main, source.data, inMain, (path, message, aim) => this.#add(source, path, message, aim))
    if (realm !== undefined && source.data.realm !== undefined && source.data.realm !== realm)
      this.#add(source, ['realm'], `this was the realm "${realm}", and a running service cannot follow: expected it again, or another file`)
  }

  /** The file of the realm of that name. What there is instead is told. */
  async #named(root: SourceFile, realm: string | undefined): Promise<string | undefined> {
    const files = new Map<string, string>()
    for (const file of this.tenants ?? []) {
      const name = await this.#realmOf(file)
      if (name === undefined) continue
      const other = files.get(name)
      if (other === undefined) files.set(name, file)
      else if (name === realm)
        this.#add(root, ['realms'], `the realm "${name}" is in ${other} and in ${file}: expected each realm in one file`)
    }
    const chosen = realm === undefined ? undefined : files.get(realm)
    if (chosen !== undefined) return chosen
    const there = [...files.keys()].join(', ')
    if (files.size === 0)
      this.#add(root, ['realms'], 'it names no file of a realm: expected at least one, counted from the folder of this file')
    else if (realm === undefined) this.#add(root, ['realms'], `this file names several realms: choose one by --realm: ${there}`)
    else this.#add(root, ['realms'], `there is no realm "${realm}": expected one of ${there}`)
    return undefined
  }

  /** The name that a realm's file gives it; undefined where it cannot be told. */
  async #realmOf(file: string): Promise<string | undefined> {
    try {
      const { data } = await this.#parser.parse(file, await readFile(file))
      return isTree(data) && typeof data.realm === 'string' ? data.realm : undefined
    } catch {
      return undefined
    }
  }

  /** The file of the realm that has been read, of several. */
  get tenant(): string | undefined {
    return this.#tenant?.file
  }

  async #open(file: string): Promise<SourceFile | undefined> {
    this.#shown.push(file)
    try {
      const bytes = await readFile(file)
      this.contents.set(resolve(file), bytes)
      const source = sourceFile(file, await this.#parser.parse(file, bytes))
      for (const fault of source.faults) this.faults.push(fault)
      return source
    } catch (error) {
      const code = systemCode(error)
      const why =
        code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'it may not be read' : code === 'EISDIR' ? 'it is a folder' : code
      this.faults.push({ file, line: 1, column: 1, path: '', message: `the file cannot be read: ${why}` })
      return undefined
    }
  }

  #add(source: SourceFile, path: Path, message: string, aim?: Aim): void {
    this.faults.push({ file: source.file, ...source.locate(path, aim), path: pathText(path), message })
  }

  /** Adds roles and routes of an included file. */
  #merge(source: SourceFile, owns: Owns | undefined): void {
    if (!isTree(source.data)) {
      if (source.faults.length === 0) this.#add(source, [], 'expected a mapping with roles and routes')
      return
    }
    for (const key of Object.keys(source.data))
      if (key !== 'roles' && key !== 'routes')
        this.#add(source, [key], `"${key}" is no setting of an included file: expected one of roles, routes`, { at: 'key' })
    const { roles = {}, routes = [] } = source.data
    if (!isTree(roles)) this.#add(source, ['roles'], 'expected a mapping')
    else this.#mergeRoles(source, roles)
    if (!Array.isArray(routes)) this.#add(source, ['routes'], 'expected a list of routes')
    else {
      this.data.routes ??= []
      const all = this.data.routes
      if (!Array.isArray(all)) return
      for (const [i, entry] of routes.entries()) {
        this.#origins.set(pathText(['routes', all.length]), { source, path: ['routes', i], owns })
        all.push(entry)
      }
    }
  }

  #mergeRoles(source: SourceFile, roles: Tree): void {
    this.data.roles ??= {}
    const all = this.data.roles
    if (!isTree(all)) return
    for (const [name, role] of Object.entries(roles)) {
      if (Object.hasOwn(all, name)) {
        this.#add(source, ['roles', name], `the role "${name}" is defined in another file too: expected it in one of them`, { at: 'key' })
        continue
      }
      this.#origins.set(pathText(['roles', name]), { source, path: ['roles', name] })
      all[name] = role
    }
  }

  #origin(path: Path): Origin | undefined {
    const origin = path.length < 2 ? undefined : this.#origins.get(pathText(path.slice(0, 2)))
    if (origin) return { ...origin, path: [...origin.path, ...path.slice(2)] }
    const source = this.#tenant && this.#isTenants(path, this.#tenant) ? this.#tenant : this.#root
    return source && { source, path }
  }

  /** Of two files that were joined: whether a setting is the realm's, or would be if it were there. */
  #isTenants(path: Path, { data }: SourceFile): boolean {
    const [section = ''] = path
    const has = (source: unknown): boolean => isTree(source) && Object.hasOwn(source, section)
    if (has(this.#root?.data) && !has(data)) return false
    return !isCommon(path) || (section === 'issuer' && path.length === 1 && has(data))
  }

  /** From here on, faults of these settings name the variable that set them. */
  overriddenBy(applied: ReadonlyMap<string, string>): void {
    this.#overridden = applied
  }

  /** Makes a fault of a path of the merged data. */
  fault(path: Path, message: string, aim?: Aim): Fault {
    const origin = this.#origin(path)
    if (!origin) return { file: this.#main, line: 1, column: 1, path: pathText(path), message }
    const variable = this.#variable(path)
    return {
      file: origin.source.file,
      ...origin.source.locate(origin.path, variable === undefined ? aim : {}),
      path: pathText(origin.path),
      message: variable === undefined ? message : `in environment variable ${variable}: ${message}`,
    }
  }

  #variable(path: Path): string | undefined {
    if (this.#overridden.size === 0) return undefined
    for (let length = path.length; length > 0; length--) {
      const variable = this.#overridden.get(pathText(path.slice(0, length)))
      if (variable !== undefined) return variable
    }
    return undefined
  }

  /**
   * Begins the next pass over the data: where an earlier one found a fault, later ones say nothing, since
   * they would tell what follows from it.
   */
  nextPass(): void {
    for (const path of this.#toldNow) this.#toldBefore.add(path)
  }

  /** Notes a fault of a path of the merged data. */
  readonly report: Report = (path, message, aim) => {
    const text = pathText(path)
    if (this.#toldBefore.has(text)) return
    this.#toldNow.add(text)
    if (this.faults.length >= mostFaults) return
    const fault = this.fault(path, message, aim)
    if (!this.#guessed(path, fault)) this.faults.push(fault)
  }

  /** Whether a fault follows from YAML that is broken: told are its own faults, and those of what stands before it. */
  #guessed(path: Path, { line }: Fault): boolean {
    const origin = this.#origin(path)
    const from = origin?.source.brokenAt
    if (origin === undefined || from === undefined) return false
    const [section = ''] = origin.path
    return line >= from || !(isTree(origin.source.data) && Object.hasOwn(origin.source.data, section))
  }

  /** Holds a route to what its file owns. */
  checkOwns(index: number, host: string | undefined, path: string): void {
    const owns = this.#origins.get(pathText(['routes', index]))?.owns
    if (!isTree(owns)) return
    for (const { setting, message } of outside(owns as Owns, host, path)) this.report(['routes', index, setting], message)
  }

  /** Files as faults show them, in the order read. */
  get shown(): readonly string[] {
    return this.#shown
  }
}
