/** The reference: the same policy on grpc-go, by hand (bench/peers/grpc-go). */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Peer, Running, StartOptions } from '../peer.ts'
import { buildOwn } from './build.ts'
import { readJob } from './job.ts'
import { newTarget, startListening } from './listening.ts'

const folder = fileURLToPath(new URL('grpc-go/', import.meta.url))

const build = () => buildOwn(folder, 'bench-grpc-go')

async function start(options: StartOptions): Promise<Running> {
  const program = await build()
  const target = await newTarget(options)
  const file = join(options.folder, 'job.json')
  writeFileSync(file, JSON.stringify(readJob(options.routes, options.owners)))
  return await startListening('grpc-go', target, [program, '--listen', target, '--job', file], options)
}

export const grpcGo: Peer = {
  name: 'grpc-go, by hand',
  version: /google\.golang\.org\/grpc (v\S+)/.exec(readFileSync(join(folder, 'go.mod'), 'utf8'))?.[1] ?? 'unknown',
  prepare: async () => {
    await build()
  },
  start,
}
