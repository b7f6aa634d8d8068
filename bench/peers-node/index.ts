import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../test/support/free-port.ts'
import { until } from '../../test/support/until.ts'
import type { Peer, Running, StartOptions } from '../peer.ts'
import { startServer } from '../process.ts'

const packageVersion = (name: string): string =>
  (JSON.parse(readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), 'utf8')) as { version: string }).version

/** node:http2 with a canned answer: a lower bound for whatever is built on it. */
export const nodeHttp2: Peer = canned('node:http2, canned', process.version, 'http2.ts')

/** @grpc/grpc-js and proto-loader with a canned answer: a lower bound for whatever is built on them. */
export const nodeGrpcJs: Peer = canned('@grpc/grpc-js, canned', packageVersion('@grpc/grpc-js'), 'grpc-js.ts')

function canned(name: string, version: string, file: string): Peer {
  const start = async ({ address, folder }: StartOptions): Promise<Running> => {
    const target = address === 'unix' ? `unix:${join(folder, 'peer.sock')}` : `127.0.0.1:${await freePort()}`
    const script = fileURLToPath(new URL(file, import.meta.url))
    const server = startServer(process.execPath, [script, target], {
      cwd: folder,
      env: { NODE_OPTIONS: '' },
      log: join(folder, 'peer.log'),
    })
    try {
      await until(`${name} to listen`, () => {
        if (!server.running()) throw new Error(`${name} ended instead of serving:\n${server.tail()}`)
        return server.tail().includes('listening')
      })
    } catch (error) {
      await server.stop()
      throw error
    }
    return { target, pids: () => [server.pid], stop: () => server.stop() }
  }
  return { name, version, prepare: () => Promise.resolve(), start }
}
