/**
 * `npm run bench -- --upstreams`: the first byte of a new sandbox with mTLS and by the token alone, side by side. Each sandbox is a process
 * of its own (deploy/upstreams/picod.ts) and is asked for through Envoy and Postern as soon as it listens.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { step as say } from '../../deploy/local/cache.mjs'
import { issueCertificate, makeAuthority, writeAuthority, writeLeaf } from '../../deploy/local/certificates.mjs'
import { SetupError } from '../../deploy/local/command.mjs'
import { ensureEnvoy } from '../../deploy/local/envoy.mjs'
import { freePorts } from '../../test/support/free-port.ts'
import { createStops } from '../../test/support/stops.ts'
import { temporaryFolder } from '../../test/support/temporary-folder.ts'
import { openClient } from '../direct/client.ts'
import { startEnvoy, startPostern } from '../direct/servers.ts'
import { commitOf, machine, versionOf } from '../machine.ts'
import { rotated } from '../statistics.ts'
import { openAdmin } from './admin.ts'
import { account, edgeConfig, hosts, type Way, ways } from './envoy.ts'
import { policyText, secretVariable } from './policy.ts'
import { type Round, report } from './report.ts'
import { startSandbox } from './sandbox.ts'

const usage = `npm run bench -- --upstreams [OPTIONS]

  --sandboxes N   new sandboxes of each way in a round (8)
  --rounds N      rounds (5)
  --main FILE     the Postern that is measured with (dist/main.js)
  --out FILE      write all times as JSON

With no option it takes less than a minute.`

const checkout = fileURLToPath(new URL('../..', import.meta.url))
/** Sandboxes of each way that are not counted. */
const warmup = 2
/** Milliseconds: no round begins that would end later than this. */
const mostMs = 50_000

async function main(args: readonly string[]): Promise<void> {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const options = { sandboxes: text, rounds: text, main: text, out: text, upstreams: flag, help: { ...flag, short: 'h' } } as const
  const { values } = parseArgs({ args: [...args], options })
  if (values.help) return void process.stdout.write(`${usage}\n`)
  const rounds = count('--rounds', values.rounds, 5)
  const sandboxes = count('--sandboxes', values.sandboxes, 8)
  const envoy = await ensureEnvoy()
  const folder = temporaryFolder('bench-upstreams')
  process.on('exit', folder.remove)
  const { started, stop } = createStops(() => {})
  try {
    const measured = await start(folder.path, values.main ?? join(checkout, 'dist/main.js'), envoy, started)
    const done: Round[] = []
    const begun = performance.now()
    for (let round = 0; round <= rounds; round++) {
      const times = await measured(round === 0 ? warmup : sandboxes)
      if (round > 0) done.push(times)
      say(round === 0 ? 'warmed up' : `round ${round} of ${rounds}`)
      const average = (performance.now() - begun) / (round + 1)
      if (performance.now() - begun + average > mostMs && done.length > 0 && round < rounds) {
        say(`no more rounds: the machine is slow, and the measurement ends within ${mostMs / 1000} s`)
        break
      }
    }
    const conditions = { ...machine(), envoy: versionOf(envoy), node: process.version, ...commitOf(checkout) }
    process.stdout.write(`\n${report(done)}\n${JSON.stringify(conditions)}\n`)
    if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify({ conditions, rounds: done })}\n`)
  } finally {
    await stop()
  }
}

/** Starts Postern and Envoy; gives what measures a round of so many sandboxes of each way. */
async function start(
  folder: string,
  postern: string,
  envoy: string,
  started: ReturnType<typeof createStops>['started'],
): Promise<(sandboxes: number) => Promise<Round>> {
  const folderOf = (name: string): string => {
    mkdirSync(join(folder, name))
    return join(folder, name)
  }
  const certificates = folderOf('certificates')
  const authority = makeAuthority('bench')
  writeAuthority(certificates, 'ca', authority)
  for (const name of ['router', 'picod'])
    writeLeaf(certificates, name, issueCertificate(authority, { commonName: name, uri: [account(name)] }))

  const secret = randomBytes(32).toString('hex')
  process.env[secretVariable] = secret
  const [port = 0, adminPort = 0, issuerPort = 0] = await freePorts(3)
  const at = folderOf('postern')
  const socket = join(at, 'check.sock')
  started(await startPostern(postern, at, policyText(socket, adminPort, issuerPort), adminPort))
  started(await startEnvoy(envoy, folderOf('envoy'), (admin) => edgeConfig({ port, admin, socket, certificates })))
  const admin = await openAdmin(`http://127.0.0.1:${adminPort}`, secret)
  const client = await openClient(port)
  started({ stop: client.close })
  const issuer = `http://127.0.0.1:${issuerPort}`
  let number = 0

  const one = async (way: Way) => {
    const id = `s${++number}`
    const sandbox = await startSandbox(way, id, issuer, certificates)
    try {
      await admin.own(id, 'alice', `127.0.0.1:${sandbox.port}`)
      const ask = async (): Promise<number> => (await client.ask(hosts[way], `/v1/sandboxes/${id}/run`)) / 1000
      return { listened: sandbox.listened, first: await ask(), second: await ask() }
    } finally {
      await sandbox.stop()
    }
  }
  return async (sandboxes) => {
    const times = { mtls: empty(), jwt: empty() }
    // Each way once for one sandbox after the other, in another order each time: what slows the machine slows both.
    for (let i = 0; i < sandboxes; i++)
      for (const way of rotated(ways, i)) {
        const { listened, first, second } = await one(way)
        times[way].listened.push(listened)
        times[way].first.push(first)
        times[way].second.push(second)
      }
    return times
  }
}

const empty = () => ({ listened: [] as number[], first: [] as number[], second: [] as number[] })

function count(name: string, value: string | undefined, usual: number): number {
  const read = value === undefined ? usual : Number(value)
  if (!Number.isInteger(read) || read < 1 || read > 500) throw new SetupError(`${name} ${value}: expected a whole number from 1 to 500`)
  return read
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  const wrong = error instanceof SetupError || (error instanceof TypeError && 'code' in error)
  if (!wrong) throw error
  process.stderr.write(`bench: ${(error as Error).message}\n`)
  process.exitCode = 2
}
