import { existsSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { freePorts } from '../test/support/free-port.ts'
import { until } from '../test/support/until.ts'
import { withDescendants } from './cpu.ts'
import { fillSqlite } from './owners.ts'
import type { Running } from './peer.ts'
import { encryptionKeyVariable, job, type PolicyOptions, policyText } from './policy.ts'
import { type Server, startServer } from './process.ts'

/** A build of Postern: its dist/main.js. */
export interface Build {
  readonly main: string
  readonly version: string
}

export interface PosternOptions extends Partial<Omit<PolicyOptions, 'check' | 'admin' | 'issuer'>> {
  readonly build: Build
  readonly address: 'unix' | 'tcp'
  /** An existing folder for this server alone. */
  readonly folder: string
  /** Numbered sandboxes with an owner, beside the captured one; 10,000 unless said. Where `state` is Redis, the caller fills it. */
  readonly owners?: number
}

const startLimit = 60_000

/** Starts `postern serve` as users run it, with a policy file and a state of its own, and waits until /readyz says so. */
export async function startPostern(options: PosternOptions): Promise<Running> {
  const { build, address, folder, owners = job.owners } = options
  const [check = 0, admin = 0, issuer = 0] = await freePorts(3)
  const database = join(folder, 'postern.db')
  const at = address === 'unix' ? `unix:${join(folder, 'check.sock')}` : `127.0.0.1:${check}`
  const config = join(folder, 'postern.yaml')
  const state = options.state ?? `file:${database}`
  const text = policyText({ ...options, check: at, admin: `127.0.0.1:${admin}`, issuer: `127.0.0.1:${issuer}`, state })
  writeFileSync(config, text, { mode: 0o600 })
  const start = () => serve(build, config, admin, folder)
  if (options.state === undefined && !existsSync(database)) {
    // The first start makes the file; rows are then written while nobody watches.
    await (await start()).stop()
    fillSqlite(database, owners)
  }
  const server = await start()
  return { target: at, pids: () => withDescendants([server.pid]), stop: () => server.stop() }
}

async function serve(build: Build, config: string, adminPort: number, folder: string): Promise<Server> {
  const server = startServer(process.execPath, [build.main, 'serve', '--config', config], {
    cwd: dirname(dirname(build.main)),
    env: { NODE_ENV: 'production', NODE_OPTIONS: '', [encryptionKeyVariable]: '42'.repeat(32) },
    log: join(folder, 'postern.log'),
  })
  try {
    const ready = () =>
      fetch(`http://127.0.0.1:${adminPort}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      )
    await until(
      'Postern to be ready',
      () => {
        if (!server.running()) throw new Error(`postern serve ended instead of serving:\n${server.tail()}`)
        return ready()
      },
      startLimit,
    )
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}
