import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TemporaryFolder {
  readonly path: string
  /** A path inside it. Unix sockets may live here: the path stays under their limit of 107 bytes. */
  readonly file: (name: string) => string
  readonly remove: () => void
}

/** Makes a folder (0700), for one test unless `purpose` says otherwise; whoever made it removes it. */
export function temporaryFolder(purpose = 'test'): TemporaryFolder {
  const path = mkdtempSync(join(tmpdir(), `postern-${purpose}-`))
  return { path, file: (name) => join(path, name), remove: () => rmSync(path, { recursive: true, force: true }) }
}
