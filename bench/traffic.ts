import { runGrpcLoad, runHttpLoad } from './load.ts'
import { idDigits, numberedId } from './owners.ts'
import type { Running } from './peer.ts'
import { job } from './policy.ts'
import type { Instants, Load, Times } from './row.ts'

/** What the load generator sends in `Check` calls. */
export interface GrpcTraffic {
  readonly messages: string
  /** One raw message, else a file of several. */
  readonly single: boolean
  /** `allow` unless said. */
  readonly expect?: 'allow' | 'deny'
  /** Other sandboxes than the captured one. */
  readonly numbered?: { readonly cardinality: number; readonly order: 'random' | 'sequence' }
}

/** As Envoy with several workers keeps them: saturation needs streams, not connections. */
export const connections = 4
export const streams = 32
/** `grpc-timeout` of each call, in milliseconds; Envoy always sends one. */
const timeoutMs = 1000

const placeholder = job.id.slice(-idDigits)
if (numberedId(0).length !== job.id.length) throw new Error('numbered ids were expected to be as long as the captured one')

/** Calls `Check` as often as the server answers, from the generator's own process. */
export function grpcTraffic({ target, inside }: Running, traffic: GrpcTraffic): (times: Times, instants: Instants) => Promise<Load> {
  const { messages, single, expect = 'allow', numbered } = traffic
  return ({ warmup, seconds }, instants) =>
    runGrpcLoad({
      target,
      messages,
      single,
      expect,
      connections,
      streams,
      timeoutMs,
      seconds,
      warmup,
      ...instants,
      ...(inside === undefined ? {} : { inside }),
      ...(numbered === undefined ? {} : { placeholder, cardinality: numbered.cardinality, sequence: numbered.order === 'sequence' }),
    })
}

const nothing: Instants = { onBegin: () => {}, onEnd: () => {} }

/** Seconds within which a near cache can be filled, or the row is not measured. */
const longest = 240

/**
 * Asks for each number of a sequence at least once: a short run says how fast that goes, and longer ones go through all. Some
 * answers may be refusals, while everything is cold; the turns are judged more strictly.
 * @throws when more than one in ten fails or is refused, or it would take too long
 */
export async function fillWith(running: Running, traffic: GrpcTraffic, count: number): Promise<void> {
  const run = grpcTraffic(running, traffic)
  // Connections are not equally fast, and each has its own share of the numbers.
  const enough = count * 1.1
  let seconds = 2
  for (let spent = 0; ; spent += seconds) {
    const { requests, failed, wrong, rate } = await run({ warmup: 0, seconds }, nothing)
    if (requests >= enough) {
      if (failed + wrong > requests / 10)
        throw new Error(`${failed + wrong} of ${requests} requests went wrong while near caches were filled`)
      return
    }
    seconds = Math.ceil((enough / Math.max(rate, 1)) * 1.2)
    if (spent + seconds > longest) throw new Error(`filling near caches with ${count} sandboxes would take ${seconds} s on this machine`)
  }
}

/** Connections through Envoy, each with one request at a time. */
export const httpConnections = 96

/** The captured request as its client sent it to Envoy. @param token absent: Envoy knows the caller without one */
export const httpRequest = (token?: string): string =>
  [
    `POST /v1/sandboxes/${job.id}/invoke?wait=true HTTP/1.1`,
    'host: 127.0.0.1:10099',
    ...(token === undefined ? [] : [`authorization: Bearer ${token}`]),
    'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    `cookie: sid=${'c'.repeat(160)}`,
    'x-forwarded-host: api.acme.example.com',
    'content-length: 12',
    `referer: https://console.acme.example.com/sandboxes/${job.id}`,
    'content-type: application/json',
    'user-agent: sandbox-cli/2.14.1 (linux; x64) node/20.20.2',
    'origin: https://console.acme.example.com',
    'idempotency-key: 0b0f7e62-7d59-4d5a-8cc5-6f4f1c0b7f10',
    'accept-encoding: gzip, deflate, br',
    'accept: application/json',
    '',
    '{"a":"b c"}\n',
  ].join('\r\n')

/** Asks an Envoy as often as it answers. @param request file with the text of the request */
export function httpTraffic({ target, inside }: Running, request: string): (times: Times, instants: Instants) => Promise<Load> {
  return ({ warmup, seconds }, instants) =>
    runHttpLoad({
      target,
      request,
      connections: httpConnections,
      seconds,
      warmup,
      ...instants,
      ...(inside === undefined ? {} : { inside }),
    })
}
