import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TemporaryFolder {
  readonly path: string
  /** A path inside it. Unix sockets may live here: the path stays under their limit of 107 bytes. */
  readonly file: (name: string) => string
  readonly remove: () => void
}

/** Makes a folder (0700) for one test; the test removes it. */
export function temporaryFolder(): TemporaryFolder {
  const path = mkdtempSync(join(tmpdir(), 'postern-test-'))
  return { path, file: (name) => join(path, name), remove: () => rmSync(path, { recursive: true, force: true }) }
}
