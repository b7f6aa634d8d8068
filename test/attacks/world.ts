import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { adminSecret } from '../support/admin.ts'
import { type Certificates, testCertificates } from '../support/certificates.ts'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { envoyConfig } from './envoy-config.ts'
import { type Answers, type ServedIssuer, serveIssuer } from './issuer.ts'
import { issuerKeys } from './keys.ts'
import type { Minting } from './tokens.ts'

/** Everything around the server under test. */
export interface World {
  readonly envoy: RunningEnvoy
  readonly upstream: Upstream
  readonly certificates: Certificates
  readonly strangers: Certificates
  readonly minting: Minting
  readonly here: ServedIssuer
  readonly redis: RunningRedis
  /** The server under test, behind all listeners but `ways` … */
  readonly main: Place
  /** … and a second one, with credentials of other kinds, behind that. */
  readonly ways: Place
  /** Empties Redis, and writes the owners anew; no server may be running. */
  readonly reset: () => Promise<void>
  readonly stop: () => Promise<void>
}

/** Where a server listens, and with which policy. */
export interface Place {
  /** host:port at which Envoy asks. */
  readonly check: string
  readonly admin: string
  /** Postern's, filled in. */
  readonly policy: string
}

/** What was there before the first case: test/attacks/owners.yaml. */
export interface Owners {
  readonly labels: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly broken: readonly string[]
  readonly documents: Readonly<Record<string, string>>
  /** Behind the listener `ways`, where the subjects that own and the labels are told to Postern itself. */
  readonly ways: Readonly<Record<string, { readonly owner: string; readonly labels: Readonly<Record<string, string>> }>>
}

const here = fileURLToPath(new URL('.', import.meta.url))

export const owners: Owners = parse(readFileSync(join(here, 'owners.yaml'), 'utf8')) as Owners

export const sharedToken = 'a-token-that-many-callers-share-0123456789'
export const edgeProof = 'a-proof-that-only-the-edge-knows-0123456789'

/** What Postern's environment holds. */
export const environment = {
  POSTERN_TEST_ADMIN_SECRET: adminSecret,
  POSTERN_TEST_SHARED_TOKEN: sharedToken,
  POSTERN_TEST_EDGE_PROOF: edgeProof,
  POSTERN_TEST_ENCRYPTION_KEY: '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff',
}

export interface WorldOptions {
  /** host:port of a server that is there already; absent: a free port, for one that is started later. */
  readonly target?: string
  /** Where keys are kept from run to run, and world.json is written. */
  readonly folder?: string
  /** Of the issuer that the server asks for keys; 0: a free one. */
  readonly issuerPort?: number
}

/** Starts Envoy, its upstream, the issuers and Redis; not the server under test. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const certificates = testCertificates(folder.path, 'workloads-ca')
    certificates.server('server', { dns: ['edge.example'] })
    const strangers = testCertificates(folder.path, 'strangers-ca')
    const keys = issuerKeys(options.folder)
    const served = started(await serveIssuer(keys.here, keys.stranger, options.issuerPort))
    const opaque = parse(readFileSync(join(here, 'opaque.yaml'), 'utf8')) as Record<'first' | 'second', Answers>
    const first = started(await serveIssuer(keys.partners, keys.stranger, 0, opaque.first))
    const second = started(await serveIssuer(keys.partners, keys.stranger, 0, opaque.second))
    const upstream = started(await startUpstream('upstream'))
    const redis = started(await startRedis())
    await fill(redis)
    const [check = 0, admin = 0, issuer = 0, waysCheck = 0, waysAdmin = 0, waysIssuer = 0] = await freePorts(6)
    const target = options.target ?? `127.0.0.1:${check}`
    const envoy = started(
      await startEnvoy(envoyConfig({ folder: folder.path, check: target, ways: `127.0.0.1:${waysCheck}`, upstream: upstream.port, keys })),
    )
    const issuers = {
      users: 'https://users.example',
      partners: 'https://partners.example',
      here: served.issuer,
      stranger: 'https://stranger.example',
      own: `http://127.0.0.1:${issuer}`,
      client: '',
      first: first.issuer,
      ways: `http://127.0.0.1:${waysIssuer}`,
    }
    const common = { redis: String(redis.port), here: served.issuer, first: first.issuer, second: second.issuer }
    const at = (port: number): string => `127.0.0.1:${port}`
    const main = place('policy.yaml', { ...common, check: target, admin: at(admin), issuer: at(issuer) })
    const ways = place('policy-ways.yaml', { ...common, check: at(waysCheck), admin: at(waysAdmin), issuer: at(waysIssuer) })
    const minting = { keys, issuers }
    const world = { envoy, upstream, certificates, strangers, minting, here: served, redis, main, ways, reset: () => fill(redis), stop }
    if (options.folder !== undefined) describe(options.folder, world)
    return world
  } catch (error) {
    await stop()
    throw error
  }
}

/** Fills a policy in; its places are among what it is filled with. */
function place(file: string, values: Readonly<Record<'check' | 'admin' | 'issuer', string> & Record<string, string>>): Place {
  const policy = readFileSync(join(here, file), 'utf8').replace(/@([a-z]+)@/g, (whole, name: string) => values[name] ?? whole)
  return { check: values.check, admin: values.admin, policy }
}

/** Owners as a platform would have written them. */
async function fill(redis: RunningRedis): Promise<void> {
  const client = redis.client()
  await client.flushall()
  const key = (id: string): string => `postern:default:labels:sandbox:${id}`
  await Promise.all([
    ...Object.entries(owners.labels).map(([id, labels]) => client.hset(key(id), labels)),
    ...owners.broken.map((id) => client.set(key(id), 'alice')),
    ...Object.entries(owners.documents).map(([id, text]) => client.set(`session:${id}`, text)),
  ])
}

/** What the policy of another server has to know. */
export function facts({ minting: { keys, issuers } }: Pick<World, 'minting'>): object {
  const issuer = (name: 'users' | 'partners' | 'here') => ({ issuer: issuers[name], audience: 'edge', jwks: keys[name].jwks })
  return { issuers: { users: issuer('users'), partners: issuer('partners'), here: issuer('here') }, trust_domain: 'cluster.local', owners }
}

function describe(folder: string, world: Pick<World, 'minting'>): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'world.json'), `${JSON.stringify(facts(world), null, 2)}\n`)
}
