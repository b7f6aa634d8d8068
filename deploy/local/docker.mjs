/** A Docker engine: the machine's own where it answers, else one that is started for this run alone and leaves nothing behind. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { run, SetupError, which } from './command.mjs'
import { installFromDebian } from './debian.mjs'

const startLimit = 60_000
const stopLimit = 30_000

/**
 * @typedef {object} Docker
 * @property {string} docker the command's path
 * @property {Record<string, string>} env what it and Compose need in their environment: DOCKER_HOST where the engine is ours
 * @property {boolean} own whether the engine was started here
 * @property {(args: readonly string[], options?: { limit?: number, show?: boolean }) => Promise<string>} run runs the command; gives its stdout
 * @property {() => Promise<void>} stop ends the engine that was started here, and removes all that it kept
 */

/**
 * The docker command, with an engine that answers or can be started. Debian's package is installed where this may be done.
 * @returns {Promise<{ docker: string } | { reason: string }>} the command's path, or why there is none
 */
export async function ensureDocker() {
  const docker = which('docker')
  if (docker !== undefined && answersHere(docker)) return { docker }
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return { reason: 'no Docker engine answers, and only root on Linux can start one (or set DOCKER_HOST)' }
  if (docker === undefined || which('dockerd') === undefined) await installFromDebian('docker.io')
  const found = which('docker')
  if (found === undefined || which('dockerd') === undefined) return { reason: 'no Docker engine answers, and dockerd is not installed' }
  return { docker: found }
}

/**
 * Opens the engine that answers, else starts one: its data, sockets and pid file lie in a temporary folder, it touches neither
 * iptables (but for one rule, see openFirewall) nor IP forwarding, and has no default network, so that containers reach each other and this machine, and nothing else.
 * @param {string} docker from ensureDocker
 * @returns {Promise<Docker>}
 * @throws {SetupError} when none answers and none can be started, with the end of its log
 */
export async function openDocker(docker) {
  if (answersHere(docker)) return opened(docker, {}, false, async () => {})
  const dockerd = which('dockerd')
  if (dockerd === undefined || process.getuid?.() !== 0) throw new SetupError('no Docker engine answers, and dockerd cannot be started')
  const folder = mkdtempSync(join(tmpdir(), 'postern-docker-'))
  const pool = freePool()
  const host = `unix://${join(folder, 'docker.sock')}`
  const log = join(folder, 'log')
  const out = openSync(log, 'a')
  const args = [
    ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '--pidfile', join(folder, 'pid'), '--host', host],
    ...['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false', '--bridge', 'none'],
    ...['--default-address-pool', `base=${pool},size=24`],
  ]
  const letThrough = openFirewall(pool)
  // A group of its own: a Ctrl-C at the terminal must not end the engine before its containers were stopped.
  const child = spawn(dockerd, args, { stdio: ['ignore', out, out], detached: true })
  let ended = false
  const gone = new Promise((done) => {
    const over = () => {
      ended = true
      done(undefined)
    }
    child.once('exit', over).once('error', over)
  })
  // Told to end, it stops its containers and containerd first.
  const onExit = () => {
    if (child.pid !== undefined && !ended) process.kill(child.pid, 'SIGTERM')
    letThrough()
  }
  process.once('exit', onExit)
  const stop = async () => {
    process.removeListener('exit', onExit)
    if (!ended && child.pid !== undefined) {
      process.kill(child.pid, 'SIGTERM')
      await Promise.race([gone, sleep(stopLimit, undefined, { ref: false })])
      if (!ended) process.kill(-child.pid, 'SIGKILL')
    }
    letThrough()
    unmount(folder)
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  const deadline = Date.now() + startLimit
  while (!answersHere(docker, host)) {
    if (ended || Date.now() > deadline) {
      const tail = readFileSync(log, 'utf8').slice(-3000)
      await stop()
      throw new SetupError(`dockerd did not start here:\n${tail}`)
    }
    await sleep(250)
  }
  return opened(docker, { DOCKER_HOST: host }, true, stop)
}

/** @param {string} docker @param {Record<string, string>} host @param {boolean} own @param {() => Promise<void>} stop @returns {Docker} */
function opened(docker, host, own, stop) {
  // The classic builder is there with every engine; BuildKit needs a plugin.
  const env = { ...host, DOCKER_BUILDKIT: '0', BUILDKIT_PROGRESS: 'plain' }
  return { docker, env, own, stop, run: (args, options = {}) => run(docker, args, { env, ...options }) }
}

/** Whether an engine answers. @param {string} docker the command @param {string} [host] where; as the environment says unless given */
export function answersHere(docker, host) {
  const env = host === undefined ? process.env : { ...process.env, DOCKER_HOST: host }
  const { status } = spawnSync(docker, ['version', '--format', '{{.Server.Version}}'], { env, timeout: 10_000 })
  return status === 0
}

/** A range for the engine's networks in which this machine has no address or route of its own. */
function freePool() {
  const { stdout } = spawnSync('ip', ['-o', 'route', 'show', 'table', 'all'], { encoding: 'utf8' })
  for (let second = 213; second < 250; second++) {
    if (!(stdout ?? '').includes(`10.${second}.`)) return `10.${second}.0.0/16`
  }
  return '10.250.0.0/16'
}

/**
 * Where an engine ran before, the machine may be left refusing all that it forwards, and that is also what containers say to each other.
 * @param {string} pool the range in which they may
 * @returns {() => void} takes the rule back
 */
function openFirewall(pool) {
  const rule = ['FORWARD', '--source', pool, '--destination', pool, '--jump', 'ACCEPT']
  const policy = spawnSync('iptables', ['-S', 'FORWARD'], { encoding: 'utf8' })
  if (policy.status !== 0 || !policy.stdout.startsWith('-P FORWARD DROP')) return () => {}
  spawnSync('iptables', ['--wait', '--insert', ...rule])
  let there = true
  return () => {
    if (there) spawnSync('iptables', ['--wait', '--delete', ...rule])
    there = false
  }
}

/** What a killed engine left mounted would keep its folder from being removed. @param {string} folder */
function unmount(folder) {
  const mounted = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
  for (const path of mounted.reverse()) spawnSync('umount', ['--lazy', path])
}
