/** Finds Keycloak, or fetches it by Maven and starts it once, so that later starts find it built and its database migrated. */
import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cachePath, step } from './cache.mjs'
import { CommandError, run, SetupError, which } from './command.mjs'
import { once } from './once.mjs'

const version = '26.7.3'
const unpackPlugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack'
const firstStart = 180_000

/**
 * $POSTERN_KEYCLOAK (an unpacked Keycloak), else Keycloak from Maven Central in the cache, prepared.
 * @returns {Promise<{ home: string, java: string } | { reason: string }>} its folder and the Java that runs it, or why there is none
 * @throws {SetupError} when fetching or the first start fails
 */
export async function ensureKeycloak() {
  const java = process.env.JAVA_HOME ? join(process.env.JAVA_HOME, 'bin', 'java') : which('java')
  if (!java || !(await isJava(java))) return { reason: 'Keycloak needs Java 17 or newer' }
  if (process.env.POSTERN_KEYCLOAK) return { home: process.env.POSTERN_KEYCLOAK, java }
  const name = `keycloak-${version}`
  const maven = which('mvn')
  if (!maven) return { reason: 'Keycloak is fetched by Maven, and mvn is not installed (or set POSTERN_KEYCLOAK to an unpacked Keycloak)' }
  const home = await once(name, `fetching Keycloak ${version} (Maven)`, async (scratch) => {
    const unpacked = join(scratch, 'unpacked')
    const artifact = `org.keycloak:keycloak-quarkus-dist:${version}:zip`
    // A repository of its own, dropped afterwards: the zip is not needed twice.
    const repository = join(scratch, 'maven')
    await run(
      maven,
      ['-B', '-q', `-Dmaven.repo.local=${repository}`, unpackPlugin, `-Dartifact=${artifact}`, `-DoutputDirectory=${unpacked}`],
      { cwd: scratch },
    )
    step('starting Keycloak once, so that later starts are quick')
    await startOnce(join(unpacked, name), scratch)
    cpSync(join(unpacked, name), scratch, { recursive: true })
    rmSync(unpacked, { recursive: true })
    rmSync(repository, { recursive: true })
  })
  return { home, java }
}

/**
 * Makes a home for one Keycloak from a prepared one: programs are shared, data is its own, so that several can run at a time.
 * @param {string} prepared from ensureKeycloak
 * @param {string} folder must not hold one yet
 * @param {readonly string[]} realms JSON files that are imported at the start
 */
export function makeKeycloakHome(prepared, folder, realms) {
  cpSync(join(prepared, 'bin'), join(folder, 'bin'), { recursive: true })
  for (const name of ['lib', 'conf', 'providers', 'themes']) symlinkSync(join(prepared, name), join(folder, name))
  cpSync(join(prepared, 'data'), join(folder, 'data'), { recursive: true })
  const imports = join(folder, 'data', 'import')
  mkdirSync(imports, { recursive: true })
  for (const [index, file] of realms.entries()) cpSync(file, join(imports, `realm-${index}.json`))
}

/**
 * @param {string} home
 * @param {number} port on loopback
 * @returns {[command: string, args: string[]]} what starts Keycloak there, with the administrator admin, password admin. No build option may be added: it would make each start build anew.
 */
export function keycloakCommand(home, port) {
  return [join(home, 'bin', 'kc.sh'), ['start-dev', '--import-realm', '--http-host=127.0.0.1', `--http-port=${port}`]]
}

/** @param {string} home @param {string} scratch */
async function startOnce(home, scratch) {
  const port = await freePort()
  const [command, args] = keycloakCommand(home, port)
  const env = { ...process.env, KC_BOOTSTRAP_ADMIN_USERNAME: 'admin', KC_BOOTSTRAP_ADMIN_PASSWORD: 'admin' }
  const child = spawn(command, args, { cwd: scratch, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => (output = (output + text).slice(-4000)))
  const ended = new Promise((done) => child.on('close', done).on('error', done))
  const stop = () => signal(child.pid, 'SIGKILL')
  process.once('exit', stop)
  try {
    const deadline = Date.now() + firstStart
    while (!(await answers(`http://127.0.0.1:${port}/realms/master`))) {
      if (child.exitCode !== null || Date.now() > deadline) throw new SetupError(`Keycloak ${version} did not start:\n${output}`)
      await sleep(250)
    }
    signal(child.pid, 'SIGTERM')
    await Promise.race([ended, sleep(30_000, undefined, { ref: false })])
  } finally {
    stop()
    process.removeListener('exit', stop)
  }
}

/** kc.sh starts Java as a child of its own, so the whole group is told. @param {number | undefined} pid @param {NodeJS.Signals} name */
function signal(pid, name) {
  try {
    if (pid !== undefined) process.kill(-pid, name)
  } catch {
    // It is gone already.
  }
}

/** @param {string} url */
async function answers(url) {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(5_000) })).ok
  } catch {
    return false
  }
}

/** @returns {Promise<number>} a free TCP port on loopback */
export function freePort() {
  return new Promise((done, fail) => {
    const server = createServer().once('error', fail)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => (typeof address === 'object' && address ? done(address.port) : fail(new SetupError('no free port'))))
    })
  })
}

/** @param {string} java */
async function isJava(java) {
  try {
    await run(java, ['-version'], { limit: 20_000, cwd: cachePath() })
    return true
  } catch (error) {
    if (error instanceof CommandError) return false
    throw error
  }
}
