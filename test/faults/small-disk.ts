import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A file system of its own. */
export interface SmallDisk {
  readonly path: string
  readonly file: (name: string) => string
  /** Leaves about so many bytes. */
  readonly fill: (left: number) => void
  readonly empty: () => void
  readonly readOnly: (yes: boolean) => void
  readonly remove: () => void
}

/**
 * Mounts one in memory.
 * @param path a folder that is made for it
 * @returns undefined where this user may not
 */
export function mountSmallDisk(path: string, bytes: number): SmallDisk | undefined {
  mkdirSync(path)
  const mount = (options: string): void => void execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { stdio: 'ignore' })
  try {
    mount(`size=${bytes},mode=700`)
  } catch {
    return undefined
  }
  const ballast = join(path, 'ballast')
  const empty = () => rmSync(ballast, { force: true })
  return {
    path,
    file: (name) => join(path, name),
    fill: (left) => {
      empty()
      const { bavail, bsize } = statfsSync(path)
      try {
        writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - left)))
      } catch (error) {
        // Somebody else took some of it meanwhile: then it is full all the same.
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
      }
    },
    empty,
    readOnly: (yes) => void execFileSync('mount', ['-o', `remount,${yes ? 'ro' : 'rw'}`, path]),
    remove: () => void execFileSync('umount', ['-l', path]),
  }
}
