/** Builds and runs the load generator (bench/load), and hands over the instants between which it measures. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { buildOwn } from './peers/build.ts'

/** What the generator saw between `begin` and `end`. Latencies are microseconds. */
export interface LoadResult {
  /** Whole answers, right or wrong. */
  readonly requests: number
  /** Requests without a whole answer: another HTTP or gRPC status, a reset, the end of the connection. */
  readonly failed: number
  /** Answers that say otherwise than expected. */
  readonly wrong: number
  readonly seconds: number
  readonly rate: number
  readonly latency_us: { readonly p50: number; readonly p90: number; readonly p99: number; readonly p999: number; readonly max: number }
  readonly bytes_sent: number
  readonly bytes_received: number
  readonly begin_unix_ns: number
  readonly end_unix_ns: number
  /** The generator's own CPU time for a request, to see that it is not what is measured. */
  readonly own_cpu_us_per_request: number
}

/** Called at the instants where measuring begins, with the load at its height, and where it ends: from then on nothing more is asked. */
export interface Gate {
  readonly onBegin?: () => void
  readonly onEnd?: () => void
}

interface LoadOptions extends Gate {
  /** `unix:/path` or `host:port`. */
  readonly target: string
  readonly connections?: number
  /** Seconds measured. */
  readonly seconds: number
  /** Seconds before that. */
  readonly warmup: number
  /** Requests a second (open loop; latency counts from when each was due). Absent: the next as soon as one is answered. */
  readonly rate?: number
  /** A text that each request holds, to be replaced by a zero-padded number of its width from 0 to `cardinality` - 1. */
  readonly placeholder?: string
  readonly cardinality?: number
  /** The numbers in order, not at random. */
  readonly sequence?: boolean
  /** TLS, and mutual TLS with `cert` and `key`: paths of PEM files. `serverName` where the target's host is not in its certificate. */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string; readonly serverName?: string }
  /** A command that runs the generator where the target is: see Running.inside. */
  readonly inside?: readonly string[]
}

export interface GrpcLoadOptions extends LoadOptions {
  /** The path of a file of CheckRequests, as `delimited` of message.ts makes it. */
  readonly messages: string
  /** The file is one raw CheckRequest. */
  readonly single?: boolean
  /** `/package.Service/Method`; Check unless said. */
  readonly path?: string
  /** Calls at once on each connection. */
  readonly streams?: number
  /** Sent as `grpc-timeout`. */
  readonly timeoutMs?: number
  /** `allow` unless said; `any` of the two. */
  readonly expect?: 'allow' | 'deny' | 'any'
}

export interface HttpLoadOptions extends LoadOptions {
  /** The path of a file with the text of one HTTP/1.1 request. */
  readonly request: string
  /** 200 unless said. */
  readonly expectStatus?: number
}

let built: Promise<string> | undefined

/**
 * Builds the load generator, or finds it.
 * @returns its path
 * @throws PeerUnavailable where there is no Go
 */
export function prepareLoad(): Promise<string> {
  built ??= buildOwn(fileURLToPath(new URL('load/', import.meta.url)), 'postern-load')
  return built
}

/**
 * Unary gRPC calls of Check, 4 connections of 32 calls at once unless said.
 * @throws Error with what the generator said where it could not run
 */
export function runGrpcLoad(options: GrpcLoadOptions): Promise<LoadResult> {
  const { messages, single, path, streams, timeoutMs, expect } = options
  return run(['grpc', ...flags({ messages, single, path, streams, 'timeout-ms': timeoutMs, expect })], options)
}

/**
 * HTTP/1.1 requests, one at a time on each of 64 kept connections unless said.
 * @throws Error with what the generator said where it could not run
 */
export function runHttpLoad(options: HttpLoadOptions): Promise<LoadResult> {
  return run(['http', ...flags({ request: options.request, 'expect-status': options.expectStatus })], options)
}

async function run(command: readonly string[], options: LoadOptions): Promise<LoadResult> {
  const { target, connections, seconds, warmup, rate, placeholder, cardinality, sequence, tls, inside = [], onBegin, onEnd } = options
  const program = await prepareLoad()
  const common = { target, conns: connections, seconds, warmup, rate, placeholder, cardinality, sequence }
  const args = [...command, ...flags({ gate: true, json: true, ...common })]
  if (tls) args.push(...flags({ ca: tls.ca, cert: tls.cert, key: tls.key, 'server-name': tls.serverName }))
  const [first = program, ...rest] = [...inside, program, ...args]
  const child = spawn(first, rest, { stdio: ['pipe', 'pipe', 'pipe'] })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  let said = ''
  let result: LoadResult | undefined
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4096)
  })
  child.stdin.on('error', () => {}) // It has ended: its exit says why.
  const lines = createInterface({ input: child.stdout })
  const pass = (hook: (() => void) | undefined) => {
    hook?.()
    child.stdin.write('\n')
  }
  const onLine = (line: string): void => {
    if (line === 'ready') pass(onBegin)
    else if (line.startsWith('end ')) pass(onEnd)
    else if (line.startsWith('{')) result = JSON.parse(line) as LoadResult
  }
  try {
    await new Promise<void>((done, fail) => {
      lines.on('line', (line) => {
        try {
          onLine(line)
        } catch (error) {
          kill()
          fail(error)
        }
      })
      child.once('error', (cause) => fail(new Error(`${first} could not be started: ${cause.message}`, { cause })))
      child.once('close', (code, signal) => {
        if (code === 0 && result !== undefined) done()
        else fail(new Error(`the load generator ended with ${code ?? signal}: ${said.trim()}`))
      })
    })
  } finally {
    process.removeListener('exit', kill)
  }
  if (said !== '') process.stderr.write(said)
  return result!
}

/** `--name=value` for each that is there. */
function flags(values: Readonly<Record<string, string | number | boolean | undefined>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`]))
}
