import { writeFileSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import fc from 'fast-check'
import { createIds } from '../../src/adapters/ids.ts'
import { type Check, createCheck } from '../../src/check/check.ts'
import { composeRuling } from '../../src/compose/ruling.ts'
import { faultText } from '../../src/config/faults.ts'
import { readPolicy } from '../../src/config/read.ts'
import { bareDenial } from '../../src/wire/bare-denial.ts'
import { createCheckHandler } from '../../src/wire/check-handler.ts'
import { startLeanServer } from '../../src/wire/lean-server.ts'
import { startEnvoy } from '../support/envoy.ts'
import { rawRequest, sendRaw } from '../support/raw.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { bootstrap, routeHeaders } from './differential-envoy.ts'
import type { RawRequest } from './differential-requests.ts'
import { policyText, type Table, table } from './differential-table.ts'

/** What the two made of one request. */
export interface Both {
  readonly status: number
  /** The route that Envoy took; undefined where it refused the request before it looked for one. */
  readonly envoy: string | undefined
  /** The route that Postern took; undefined where it was not asked, or took none. */
  readonly postern: string | undefined
  /** `ok`, or why Postern refused; undefined where it was not asked. */
  readonly reason: string | undefined
}

export interface DifferentialEdge {
  readonly tables: readonly Table[]
  /** Sends a request to the listener of a table. */
  readonly ask: (index: number, request: RawRequest) => Promise<Both>
  readonly stop: () => Promise<void>
}

/** The tables that a seed stands for. */
export const tablesOf = (seed: number, count: number): Table[] =>
  fc
    .sample(table, { seed, numRuns: count * 2 })
    .filter(({ routes }) => routes.length > 1)
    .slice(0, count)

/** Starts Envoy with a listener for each table, and one check listener for all of them, which knows the tables by their realms. */
export async function startDifferentialEdge(tables: readonly Table[]): Promise<DifferentialEdge> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const realms = tables.map((_, i) => `table-${i}`)
    const checks = new Map<string, Check>()
    for (const [i, one] of tables.entries()) checks.set(realms[i]!, await checkOf(folder.file('postern.yaml'), policyText(one, realms[i]!)))
    const server = await startLeanServer({
      listener: { address: { kind: 'tcp', host: '127.0.0.1', port: 0 }, tls: { mode: 'none' } },
      handler: createCheckHandler({
        check: (request, budget, begun) => {
          const check = checks.get(request.extension('realm') ?? '')
          if (!check) throw new Error('Envoy named no table')
          return check(request, budget, begun)
        },
        refuse: (reason) => bareDenial(reason),
        maxInFlight: 1024,
        maxMessage: 256 * 1024,
        maxDeadlineMs: 2000,
      }),
      onFault: () => {},
    })
    started({ stop: () => server.close(0) })
    server.serving(true)
    if (server.address.kind !== 'tcp') throw new Error('the check listener was expected on TCP')
    const envoy = started(await startEnvoy(bootstrap(tables, realms, server.address.port)))
    const ports = realms.map((realm) => envoy.port(realm))
    return { tables, ask: (index, request) => (request.http2 ? askHttp2(ports[index]!, request) : askHttp1(ports[index]!, request)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function checkOf(file: string, policy: string): Promise<Check> {
  writeFileSync(file, policy, { mode: 0o600 })
  const read = await readPolicy({ file, env: {} })
  if (!read.ok) throw new Error(`${policy}\n${read.faults.map(faultText).join('\n')}`)
  const nobody = () => {
    throw new Error('a public route asks for nobody')
  }
  const ruling = composeRuling({
    policy: read.loaded.policy,
    validators: [],
    revocations: { check: nobody },
    owners: { labels: nobody },
    tokens: { obtain: nobody },
    prove: nobody,
    clock: { due: () => false, ran: () => {}, waited: () => {} },
    onRejection: () => {},
  })
  return createCheck({ ruling: () => ruling, observe: () => {}, newId: createIds(), clock: Date.now })
}

/** Bytes as characters: what stands in a request line is UTF-8. */
const asBytes = (text: string): string => Buffer.from(text).toString('latin1')

async function askHttp1(port: number, { method, host, path, second }: RawRequest): Promise<Both> {
  const hosts = [host, ...(second === undefined ? [] : [second])].map((one) => `Host: ${asBytes(one)}`)
  const lines = [`${method} ${asBytes(path)} HTTP/1.1`, ...hosts, 'Content-Length: 0', 'Connection: close']
  const { status, headers } = await sendRaw(port, rawRequest(lines))
  return bothOf(status, headers)
}

function askHttp2(port: number, { method, host, path, second }: RawRequest): Promise<Both> {
  return new Promise((done, fail) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    // Envoy ends the stream, or the whole connection, for what cannot be in HTTP/2.
    const refused = () => {
      session.destroy()
      done({ status: 0, envoy: undefined, postern: undefined, reason: undefined })
    }
    session.on('error', refused)
    try {
      const stream = session.request(
        {
          ':method': method,
          ':path': asBytes(path),
          ':authority': asBytes(host),
          ...(second === undefined ? {} : { host: asBytes(second) }),
        },
        { endStream: true },
      )
      stream.setTimeout(10_000, () => fail(new Error(`no answer to ${JSON.stringify(path)} over HTTP/2`)))
      stream.on('error', refused)
      stream.on('close', refused)
      stream.on('response', (headers) => {
        done(bothOf(Number(headers[':status'] ?? 0), headers as Record<string, string | undefined>))
        session.destroy()
      })
    } catch {
      refused() // what Node does not send
    }
  })
}

function bothOf(status: number, headers: Readonly<Record<string, string | undefined>>): Both {
  const value = (name: string) => (headers[name] === undefined || headers[name] === '' || headers[name] === '-' ? undefined : headers[name])
  return {
    status,
    envoy: value(routeHeaders.envoy),
    postern: value(routeHeaders.postern),
    reason: value(routeHeaders.reason),
  }
}
