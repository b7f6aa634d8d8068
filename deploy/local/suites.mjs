/** Runs test files with mocha, in a process group of their own and within a time limit. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkout } from './cache.mjs'

const grace = 3_000
/** How long mocha may take to end after its last test. Longer means that a test left a socket, timer or process behind. */
const leaveTime = 15_000

/**
 * @typedef {{ passed: number, failed: number, skipped: number }} Totals
 */

/**
 * @param {string} folder in the checkout
 * @returns {string[]} its *.test.ts files, sorted, relative to the checkout; none when there is no such folder
 */
export function testFiles(folder) {
  if (!statSync(join(checkout, folder), { throwIfNoEntry: false })?.isDirectory()) return []
  const names = readdirSync(join(checkout, folder), { recursive: true, encoding: 'utf8' })
  return names
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `${folder}/${name.split(sep).join('/')}`)
    .sort()
}

/**
 * @param {{ node: string, files: readonly string[], args: readonly string[], env: Record<string, string>, totals: string, limit: number }} job
 *   `totals` is a file for the reporter to write; `limit` in milliseconds
 * @returns {Promise<Totals & { problem?: string }>} `problem` says why the run itself failed, which `failed` then counts as one
 */
export async function runMocha({ node, files, args, env, totals, limit }) {
  const mocha = ['node_modules/mocha/bin/mocha.js', '--reporter', 'deploy/local/reporter.mjs', '--timeout', '20000', ...args, ...files]
  const child = spawn(node, mocha, {
    cwd: checkout,
    env: { ...process.env, ...env, POSTERN_TEST_TOTALS: totals },
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  })
  const killNow = () => signalGroup(child, 'SIGKILL')
  process.once('exit', killNow)
  /** @type {string | undefined} */
  let problem
  const stop = async (/** @type {string} */ why) => {
    problem ??= why
    signalGroup(child, 'SIGTERM')
    await sleep(grace, undefined, { ref: false })
    killNow()
  }
  const limitTimer = setTimeout(() => stop(`stopped at its limit of ${limit / 1000} s`), limit)
  /** @type {number | undefined} */
  let lastTest
  const watch = setInterval(() => {
    if (readTotals(totals).ended) lastTest ??= Date.now()
    if (lastTest !== undefined && Date.now() - lastTest > leaveTime) stop('did not end after its last test: something was left open')
  }, 1_000)
  const { code, signal } = await new Promise((done) => {
    child.on('error', (error) => done({ code: null, signal: error.message }))
    child.on('exit', (exitCode, exitSignal) => done({ code: exitCode, signal: exitSignal }))
  })
  clearTimeout(limitTimer)
  clearInterval(watch)
  process.removeListener('exit', killNow)
  // What tests left behind in the group goes too: it is a group of this run alone.
  killNow()
  const { ended, ...counted } = readTotals(totals)
  if (problem === undefined && !ended) problem = `mocha ended before its tests did (${signal ?? `exit code ${code}`})`
  if (problem === undefined && code !== 0 && counted.failed === 0) problem = `mocha ended with exit code ${code}`
  return problem === undefined ? counted : { ...counted, failed: counted.failed + 1, problem }
}

/** @param {string} path @returns {Totals & { ended: boolean }} */
function readTotals(path) {
  try {
    return { ended: false, ...JSON.parse(readFileSync(path, 'utf8')) }
  } catch {
    // Not written yet, or being written: the next look sees it.
    return { passed: 0, failed: 0, skipped: 0, ended: false }
  }
}

/** @param {import('node:child_process').ChildProcess} child @param {NodeJS.Signals} name */
function signalGroup(child, name) {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, name)
  } catch {
    // The group is gone.
  }
}
