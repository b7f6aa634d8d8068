/** Folders of the cache that are filled once. */
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cachePath, step } from './cache.mjs'
import { withLock } from './lock.mjs'

/**
 * Fills a folder of the cache once: `make` fills a scratch folder beside it, which is renamed when whole, so that what exists is complete.
 * @param {string} name the folder's name, with the version in it
 * @param {string} what said on the progress line
 * @param {(scratch: string) => Promise<void>} make
 * @param {{ inPlace?: boolean }} [options] `inPlace` for what does not bear moving (a Python venv): then a `.complete` file marks the end
 * @returns {Promise<string>} the folder
 */
export async function once(name, what, make, options = {}) {
  const folder = cachePath(name)
  const mark = options.inPlace ? join(folder, '.complete') : folder
  if (exists(mark)) return folder
  return await withLock(name, async () => {
    if (exists(mark)) return folder
    step(what)
    // Under the lock, so what is there was left by a run that was ended in the middle.
    const scratch = options.inPlace ? folder : cachePath(`${name}.part`)
    rmSync(scratch, { recursive: true, force: true })
    mkdirSync(scratch, { recursive: true })
    try {
      await make(scratch)
      if (options.inPlace) writeFileSync(mark, '')
      else renameSync(scratch, folder)
    } catch (error) {
      rmSync(scratch, { recursive: true, force: true })
      throw error
    }
    return folder
  })
}

/** @param {string} path */
function exists(path) {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}
