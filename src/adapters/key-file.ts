import { randomUUID } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { isJsonObject } from '../core/json.ts'
import { type ChangeFeed, type KeyStore, type StoredKey, Unavailable } from '../core/ports.ts'
import { systemCode } from '../core/system-code.ts'
import { createChanges } from './changes.ts'
import { sameKeys } from './same-keys.ts'
import { makeFolder, sqliteCode } from './sqlite-file.ts'
import { readStoredKey } from './stored-key.ts'

/** A key file that cannot be used: the start is to be refused with this sentence. */
export class KeyFileRefused extends Error {
  override readonly name = 'KeyFileRefused'
}

/** Signing keys in a file of their own, for any number of processes of one host. */
export interface KeyFile {
  readonly store: KeyStore
  /** Tells `keys` when this or another process has written the file. */
  readonly feed: Pick<ChangeFeed, 'subscribe'>
  readonly close: () => void
}

/** Milliseconds between looks at the file: what another process wrote is told within this. */
const lookEveryMs = 500
const lockWaitMs = 5000
const busy = 5

/** Before the first write there is no file, and so no key. @throws {KeyFileRefused} */
async function read(path: string): Promise<readonly StoredKey[]> {
  let text: string
  try {
    const file = await open(path)
    try {
      const { mode } = await file.stat()
      if ((mode & 0o077) !== 0)
        throw new KeyFileRefused(`key file ${path} is open to others (mode 0${(mode & 0o777).toString(8)}): expected 0600 (chmod 600 it)`)
      text = await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (cause instanceof KeyFileRefused) throw cause
    if (systemCode(cause) === 'ENOENT') return []
    throw new KeyFileRefused(`key file ${path} cannot be read (${systemCode(cause)}): expected a file that this user may read and write`)
  }
  if (text.startsWith('-----BEGIN'))
    throw new KeyFileRefused(
      `key file ${path} holds a PEM key: expected a file of Postern's own, with all keys of a rotation; name another path, where it is made`,
    )
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {}
  const keys =
    isJsonObject(value) && value['version'] === 1 && Array.isArray(value['keys']) ? value['keys'].map(readStoredKey) : [undefined]
  if (!keys.every((key) => key !== undefined))
    throw new KeyFileRefused(`key file ${path} is damaged or from another version: restore it, or move it away and new keys are made`)
  return keys
}

/** In one step, and on disk when it resolves. */
async function write(path: string, keys: readonly StoredKey[]): Promise<void> {
  const fresh = `${path}.${randomUUID()}`
  try {
    const file = await open(fresh, 'wx', 0o600)
    try {
      await file.writeFile(`${JSON.stringify({ version: 1, keys })}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(fresh, path)
    const folder = await open(dirname(path))
    await folder.sync().finally(() => folder.close())
  } catch (cause) {
    await rm(fresh, { force: true })
    throw new KeyFileRefused(`key file ${path} cannot be written (${systemCode(cause)}): expected a folder that this user may write`)
  }
}

const freshName = /^\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Removes what a process left that was killed while it wrote: private keys, which nobody would rotate away. */
async function forgetUnfinished(path: string): Promise<void> {
  const [folder, name] = [dirname(path), basename(path)]
  // Where it cannot be listed or removed from, writing will say so.
  const found = await readdir(folder).catch(() => [])
  const left = found.filter((each) => each.startsWith(name) && freshName.test(each.slice(name.length)))
  await Promise.all(left.map((each) => rm(join(folder, each), { force: true }).catch(() => {})))
}

/**
 * Runs while no other process does: an exclusive transaction of an empty SQLite file holds the lock of the operating system,
 * which ends with the process however that ends.
 */
async function alone<T>(path: string, work: () => Promise<T>): Promise<T> {
  const place = `${path}.lock`
  let lock: DatabaseSync | undefined
  try {
    try {
      closeSync(openSync(place, 'a', 0o600))
      lock = new DatabaseSync(place)
    } catch (cause) {
      throw new KeyFileRefused(
        `key file ${path}: its lock ${place} cannot be opened (${systemCode(cause)}): expected a folder that this user may write`,
      )
    }
    const end = performance.now() + lockWaitMs
    for (;;) {
      try {
        lock.exec('BEGIN EXCLUSIVE')
        break
      } catch (cause) {
        if (sqliteCode(cause) !== busy) throw new KeyFileRefused(`key file ${path}: its lock ${place} is no lock: remove it`)
        if (performance.now() > end) throw new KeyFileRefused(`key file ${path} is locked by another process that does not let go of it`)
      }
      await sleep(5)
    }
    return await work()
  } finally {
    lock?.close()
  }
}

/**
 * Opens the file of `issuer.keys.file`; it is made, with mode 0600, when the first key is.
 * @param lookMs for tests
 * @throws {KeyFileRefused} where it cannot be used
 */
export async function openKeyFile(path: string, lookMs = lookEveryMs): Promise<KeyFile> {
  try {
    makeFolder(dirname(path))
  } catch (cause) {
    throw new KeyFileRefused(`key file ${path}: its folder cannot be made (${systemCode(cause)})`)
  }
  await alone(path, async () => {
    await forgetUnfinished(path)
    await read(path)
  })
  const changes = createChanges()

  /** Who asks later learns that state cannot be had, whatever the reason. */
  const sooner = <T>(work: Promise<T>): Promise<T> =>
    work.catch((cause: unknown) => {
      throw cause instanceof KeyFileRefused ? new Unavailable(cause.message) : cause
    })
  const signature = async (): Promise<string> => {
    const found = await stat(path, { bigint: true }).catch(() => undefined)
    return found ? `${found.ino} ${found.mtimeNs} ${found.size}` : ''
  }

  let seen = await signature()
  const look = async (): Promise<void> => {
    const now = await signature()
    if (now === seen) return
    seen = now
    changes.tell({ kind: 'keys' })
  }
  const timer = setInterval(look, lookMs).unref()

  return {
    store: {
      list: () => sooner(read(path)),
      replace: async (known, next) => {
        const replaced = await sooner(
          alone(path, async () => {
            if (!sameKeys(await read(path), known)) return false
            await write(path, next)
            return true
          }),
        )
        await look()
        return replaced
      },
    },
    feed: { subscribe: changes.subscribe },
    close: () => clearInterval(timer),
  }
}
