/** The stack of docker-compose.yml: its secrets, up, and down with nothing left. */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkout, step } from '../local/cache.mjs'
import { run, SetupError } from '../local/command.mjs'
import { ask } from './ask.mjs'
import { writeServiceCertificates } from './certs.mjs'

/** The overlays, and what each needs below it. */
export const overlays = /** @type {const} */ ({
  tls: ['tls'],
  mtls: ['tls', 'mtls'],
  spire: ['tls', 'mtls', 'spire'],
  observability: ['observability'],
})
/** @typedef {keyof typeof overlays} Overlay */

/** @typedef {{ edge: number, keycloak: number, prometheus: number, grafana: number }} Ports on 127.0.0.1 */

/**
 * @typedef {object} StackOptions
 * @property {string} compose path of docker-compose, from ensureCompose
 * @property {string} docker path of docker
 * @property {Record<string, string>} [env] of the engine
 * @property {readonly Overlay[]} [with] overlays
 * @property {Partial<Ports>} [ports]
 * @property {string} [state] folder for secrets and certificates; deploy/compose/generated unless given
 * @property {string} [project] Compose's name for it
 * @property {Readonly<Record<string, string>>} [images] by the variables of docker-compose.yml; with any, nothing is built or fetched
 * @property {readonly string[]} [without] services that are not started
 * @property {boolean} [show] whether Compose's own words are shown
 */

/**
 * @typedef {object} Stack
 * @property {{ edge: string, keycloak: string, prometheus: string }} urls
 * @property {Readonly<Record<string, string>>} secrets the names and values of the .env file
 * @property {string | undefined} ca the authority of the edge and of Keycloak, PEM, where there is TLS
 * @property {(args: readonly string[], options?: { limit?: number }) => Promise<string>} compose runs Compose on this stack; gives stdout
 * @property {() => Promise<void>} up starts it, and waits until all is healthy
 * @property {() => Promise<void>} down takes it away; throws where anything is left
 */

const upLimit = 420_000
const edgeLimit = 60_000

/** The folder of secrets unless another is named. */
export const usualState = join(checkout, 'deploy/compose/generated')

/**
 * Makes the stack's secrets, or takes those that are there; starts nothing.
 * @param {StackOptions} options
 * @returns {Stack}
 */
export function openStack(options) {
  const { compose, docker, env = {}, ports = {}, images = {}, without = [], show = false, project = 'postern' } = options
  const state = resolve(options.state ?? usualState)
  const file = join(state, '.env')
  const chosen = options.with ?? []
  const layers = [...new Set(chosen.flatMap((name) => [...overlays[name]]))]
  const secure = layers.includes('tls')
  if (!existsSync(file)) prepare(state, file, chosen, { ...images, ...portVariables(ports) }, project)
  const secrets = readEnv(file)
  const files = ['docker-compose.yml', ...layers.map((name) => `deploy/compose/${name}.yaml`)]
  const common = [
    '--project-name',
    project,
    '--project-directory',
    checkout,
    '--env-file',
    file,
    ...files.flatMap((name) => ['-f', join(checkout, name)]),
  ]
  const call = (/** @type {readonly string[]} */ args, /** @type {{ limit?: number }} */ { limit = 120_000 } = {}) =>
    run(compose, [...common, ...args], { env, limit, show })
  const scheme = secure ? 'https' : 'http'
  const at = (/** @type {string} */ name, /** @type {number} */ usual) => Number(secrets[name] ?? usual)
  const urls = {
    edge: `${scheme}://localhost:${at('EDGE_PORT', 10000)}`,
    keycloak: `${scheme}://localhost:${at('KEYCLOAK_PORT', secure ? 8443 : 8080)}`,
    prometheus: `http://localhost:${at('PROMETHEUS_PORT', 9090)}`,
  }
  const up = async () => {
    if (layers.includes('spire')) await startSpire(call, Object.keys(images).length > 0)
    const scale = without.flatMap((name) => ['--scale', `${name}=0`])
    const local = Object.keys(images).length > 0 ? ['--no-build', '--pull', 'never'] : ['--build']
    await call(['up', '--detach', '--wait', '--wait-timeout', '240', ...local, ...scale], { limit: upLimit })
    await edgeAnswers(urls.edge, secure ? readFileSync(join(state, 'tls/envoy/ca.crt'), 'utf8') : undefined)
  }
  const down = async () => {
    await call(['down', '--volumes', '--remove-orphans', '--timeout', '15'], { limit: 120_000 })
    const left = await leftovers(docker, env, project)
    if (left.length > 0) throw new SetupError(`the stack is down, and this is left of it:\n${left.join('\n')}`)
    rmSync(state, { recursive: true, force: true })
  }
  return { urls, secrets, ca: secure ? readFileSync(join(state, 'tls/envoy/ca.crt'), 'utf8') : undefined, compose: call, up, down }
}

/**
 * Certificates come before those who show them: server and agent, then who is who, then the helpers.
 * @param {(args: readonly string[], options?: { limit?: number }) => Promise<string>} call
 * @param {boolean} local
 */
async function startSpire(call, local) {
  const up = ['up', '--detach', '--wait', '--wait-timeout', '120', ...(local ? ['--no-build', '--pull', 'never'] : [])]
  await call([...up, 'spire-server', 'spire-agent'], { limit: upLimit })
  const server = ['exec', '-T', 'spire-server', '/opt/spire/bin/spire-server']
  const socket = ['-socketPath', '/run/spire/server/api.sock']
  if (!(await call([...server, 'entry', 'show', ...socket])).includes('/sa/router'))
    await call([...server, 'entry', 'create', ...socket, '-data', '/etc/spire/entries.json'])
  await call([...up, 'postern-helper', 'workloadmanager-helper', 'picod-helper'], { limit: upLimit })
  // The agent asks its server for new entries every five seconds.
  await sleep(8_000)
}

/** Envoy's image has nothing that could ask Envoy; it listens once it has the keys of Keycloak. @param {string} url @param {string | undefined} ca */
async function edgeAnswers(url, ca) {
  const deadline = Date.now() + edgeLimit
  for (;;) {
    const answer = await ask(`${url}/healthz`, { ca }).catch((error) => error)
    if (answer.status === 200) return
    if (Date.now() > deadline) throw new SetupError(`Envoy does not answer at ${url}/healthz: ${answer.status ?? answer.message}`)
    await sleep(250)
  }
}

/**
 * What Docker still holds of a project.
 * @param {string} docker @param {Record<string, string>} env @param {string} project
 * @returns {Promise<string[]>} `container x`, `volume y`, `network z`
 */
export async function leftovers(docker, env, project) {
  const filter = ['--filter', `label=com.docker.compose.project=${project}`]
  const kinds = /** @type {const} */ ([
    ['container', ['ps', '--all', '--format', '{{.Names}}']],
    ['volume', ['volume', 'ls', '--format', '{{.Name}}']],
    ['network', ['network', 'ls', '--format', '{{.Name}}']],
  ])
  const found = []
  for (const [kind, args] of kinds) {
    const lines = (await run(docker, [...args, ...filter], { env, limit: 30_000 })).split('\n')
    found.push(...lines.filter((line) => line !== '').map((line) => `${kind} ${line}`))
  }
  return found
}

/** @param {Partial<Ports>} ports */
const portVariables = (ports) =>
  Object.fromEntries(Object.entries(ports).map(([name, port]) => [`${name.toUpperCase()}_PORT`, String(port)]))

/** @param {string} state @param {string} file @param {readonly string[]} chosen @param {Readonly<Record<string, string>>} given @param {string} project */
function prepare(state, file, chosen, given, project) {
  step(`making secrets and certificates in ${state}`)
  mkdirSync(state, { recursive: true, mode: 0o700 })
  const secret = () => randomBytes(32).toString('hex')
  // As root files are handed to the containers' users; else Postern and Envoy run as who called this.
  const root = process.getuid?.() === 0
  const [uid, gid] = root ? [65532, 65532] : [process.getuid?.() ?? 65532, process.getgid?.() ?? 65532]
  const redis = secret()
  const values = {
    COMPOSE_STATE: state,
    COMPOSE_WITH: chosen.join(','),
    COMPOSE_NAME: project,
    RUN_AS: `${uid}:${gid}`,
    RUN_UID: String(uid),
    SOCKET_OWNER: `uid=${uid},gid=${gid}`,
    POSTERN_ADMIN_SECRET: secret(),
    POSTERN_KEY_ENCRYPTION_KEY: secret(),
    REDIS_PASSWORD: redis,
    KEYCLOAK_ADMIN_PASSWORD: secret(),
    AGENTCUBE_SDK_SECRET: secret(),
    AGENTCUBE_ROUTER_SECRET: secret(),
    GRAFANA_ADMIN_PASSWORD: secret(),
    ...given,
  }
  // Redis is told the hash alone, so that its user may read the file.
  const hash = createHash('sha256').update(redis).digest('hex')
  const acl = join(state, 'redis/users.acl')
  mkdirSync(dirname(acl), { recursive: true })
  writeFileSync(acl, `user default off\nuser postern on #${hash} resetchannels ${posternRights}\n`, { mode: 0o644 })
  writeServiceCertificates(join(state, 'tls'), { user: uid })
  // Last: what is there is whole.
  writeFileSync(
    file,
    `${Object.entries(values)
      .map(([name, value]) => `${name}=${value}`)
      .join('\n')}\n`,
    { mode: 0o600 },
  )
}

/** docs/guides/redis.md: what Postern uses, on the keys of the realm `default`. */
const posternRights =
  '~postern:default:* &__redis__:invalidate -@all +ping +subscribe +client|id +client|tracking +client|trackinginfo +hgetall +hset +hget +hmget +hdel +hvals +hlen +hscan +del +exists +get +set +scan +multi +exec +eval +xadd +xrange +xrevrange +xdel +xlen +xtrim +zadd +zrem +zrange +info +config|get +wait'

/** @param {string} file @returns {Record<string, string>} */
export function readEnv(file) {
  const lines = readFileSync(file, 'utf8').split('\n')
  return Object.fromEntries(
    lines.filter((line) => line.includes('=')).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
}
