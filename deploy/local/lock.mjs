/** A lock in the cache folder, so that two runs at once do not fetch or build the same thing. */
import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { cachePath, step } from './cache.mjs'

const lockBeat = 5_000
const lockStale = 60_000

/**
 * Runs `work` while no other process runs work under the same name. A lock whose holder has died, or has not
 * touched it for a minute (its machine went away), is taken over.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(name, work) {
  const path = cachePath('locks', `${name}.lock`)
  const own = JSON.stringify({ id: randomUUID(), pid: process.pid, host: hostname() })
  let told = false
  while (!create(path, own)) {
    if (takeOver(path)) continue
    if (!told) step(`waiting for another run that is preparing ${name}`)
    told = true
    await sleep(250)
  }
  const beat = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date())
    } catch {
      // Taken over while this process was asleep: the work is safe to repeat, so it goes on.
    }
  }, lockBeat)
  try {
    return await work()
  } finally {
    clearInterval(beat)
    if (read(path) === own) rmSync(path, { force: true })
  }
}

/** @param {string} path @param {string} text */
function create(path, text) {
  try {
    writeFileSync(path, text, { flag: 'wx' })
    return true
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  }
}

/** Removes a lock left behind. The rename is atomic: of two that saw it, one gets it. @param {string} path */
function takeOver(path) {
  const text = read(path)
  if (text === undefined || !isStale(path, text)) return text === undefined
  const aside = `${path}.${randomUUID()}`
  try {
    renameSync(path, aside)
  } catch (error) {
    if (isCode(error, 'ENOENT')) return true
    throw error
  }
  // Between look and rename another process may have taken over and locked anew: then give it back.
  const moved = read(aside)
  if (moved !== undefined && moved !== text) create(path, moved)
  rmSync(aside, { force: true })
  return true
}

/** @param {string} path @param {string} text */
function isStale(path, text) {
  try {
    if (Date.now() - statSync(path).mtimeMs > lockStale) return true
    const holder = JSON.parse(text)
    if (holder.host !== hostname()) return false
    process.kill(holder.pid, 0)
    return false
  } catch (error) {
    // A lock that is half written is judged by its age alone; a holder that is not ours to signal (EPERM) is alive.
    return isCode(error, 'ESRCH')
  }
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** @param {unknown} error @param {string} code */
function isCode(error, code) {
  return error instanceof Error && 'code' in error && error.code === code
}
