import { type Fault, faultText } from './faults.ts'
import { type Loaded, type ReadOptions, readPolicy } from './read.ts'

/** A realm that was read, and its file. */
export interface ReadRealm {
  readonly file: string
  readonly loaded: Loaded
}

/** What was read of several realms; each is whole and without faults, or left out. */
export interface ReadRealms {
  /** By name, in the order of their files. */
  readonly realms: ReadonlyMap<string, ReadRealm>
  /** Of all of them, each once: those of the main file would be told for every realm. */
  readonly faults: readonly Fault[]
}

/** Reads the realms of a main file that names several. @param files those of the realms */
export async function readRealms(options: Omit<ReadOptions, 'tenant'>, files: readonly string[]): Promise<ReadRealms> {
  const realms = new Map<string, ReadRealm>()
  const faults = new Map<string, Fault>()
  const tell = (fault: Fault): void => void faults.set(faultText(fault), fault)
  for (const file of files) {
    const read = await readPolicy({ ...options, tenant: file })
    if (!read.ok) {
      for (const fault of read.faults) tell(fault)
      continue
    }
    const { loaded } = read
    const name = loaded.settings.realm
    const other = realms.get(name)
    if (other) tell(takenRealm(loaded, other.file))
    else realms.set(name, { file, loaded })
  }
  return { realms, faults: [...faults.values()] }
}

/** That another file is the realm already. */
export function takenRealm({ settings, unchanging }: Loaded, file: string): Fault {
  const at = unchanging.get('realm') ?? { file, line: 1, column: 1 }
  const { line, column } = at
  return { file: at.file, line, column, path: 'realm', message: `"${settings.realm}" is the realm of ${file} too: expected one of its own` }
}

/**
 * The warnings of several realms as one list. What the main file is warned of is told where it is so for all: that no route of one realm
 * needs a listener says nothing of the others.
 * @param main the main file, as messages show it
 */
export function warningsOf(main: string, realms: readonly Loaded[]): Fault[] {
  const told = new Map<string, { readonly fault: Fault; count: number }>()
  for (const { warnings } of realms) {
    for (const fault of warnings) {
      const known = told.get(faultText(fault))
      if (known) known.count++
      else told.set(faultText(fault), { fault, count: 1 })
    }
  }
  return [...told.values()].filter(({ fault, count }) => fault.file !== main || count === realms.length).map(({ fault }) => fault)
}
