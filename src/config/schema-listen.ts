import { isIP } from 'node:net'
import { z } from 'zod'
import { isRedisUrl, type RedisSettings, redis } from './schema-redis.ts'
import { duration, filePath, secret, size, some, text } from './values.ts'

const address = () =>
  z.string().refine((value) => parseAddress(value) !== undefined, {
    error:
      'expected "unix:/path", "address:port" or "[v6]:port" with an IP address or localhost, such as "unix:/run/postern/check.sock" or "127.0.0.1:9191"',
  })

/** Where a listener is bound. */
export type Address =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

/**
 * Reads `unix:/path`, `host:port` or `[v6]:port`; undefined where it is none of them. The host is an IP address or localhost: no
 * resolver decides whether a bind is safe.
 */
export function parseAddress(value: string): Address | undefined {
  if (value.startsWith('unix:')) {
    const path = value.slice(5)
    // sockaddr_un holds 108 bytes, the closing NUL among them.
    return path.startsWith('/') && !path.includes('\0') && Buffer.byteLength(path) <= 107 ? { kind: 'unix', path } : undefined
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(value)
  const port = Number(match?.[3])
  if (!match || port > 65535) return undefined
  const host = (match[1] ?? match[2] ?? '').toLowerCase()
  return host === 'localhost' || isIP(host) === (match[1] === undefined ? 4 : 6) ? { kind: 'tcp', host, port } : undefined
}

/** Whether only this machine can reach it. */
export function isLoopback(at: Address): boolean {
  if (at.kind === 'unix') return true
  return at.host === 'localhost' || at.host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(at.host)
}

const tls = () =>
  z
    .strictObject({
      mode: z
        .enum(['none', 'tls', 'mtls'])
        .prefault('none')
        .describe('none; tls: the server shows a certificate; mtls: clients must show one too'),
      cert: filePath().optional().describe('PEM file with the certificate chain, the own certificate first'),
      key: filePath().optional().describe('PEM file with the private key; not readable by others'),
      ca: filePath().optional().describe('PEM file with the authorities that client certificates are verified against (mtls)'),
      allow: some(text())
        .optional()
        .describe('SPIFFE IDs of the clients that may connect, or on admin need no token (mtls); may change while the service runs'),
    })
    .prefault({})
    .describe('TLS of this listener')

/** `listen` */
export const listen = () =>
  z
    .strictObject({
      check: z
        .strictObject({
          address: address().describe('unix:/path beside Envoy (recommended), loopback, or any address with mtls and allow'),
          transport: z
            .enum(['lean', 'grpc-js'])
            .prefault('lean')
            .describe('which server speaks gRPC: lean costs less than half the CPU; grpc-js has compression and reflection'),
          tls: tls(),
        })
        .describe("Envoy's ext_authz"),
      ext_proc: z
        .strictObject({ address: address(), tls: tls() })
        .optional()
        .describe("Envoy's ext_proc, by which owners are captured; the same rules as for check"),
      admin: z
        .strictObject({ address: address(), tls: tls() })
        .optional()
        .describe('health, metrics, status and owner API; not opened where absent; off loopback it needs TLS'),
      issuer: z
        .strictObject({
          address: address(),
          url: z.string().optional().describe('the `iss` of tokens; http(s)://<address> where absent'),
          tls: tls(),
        })
        .optional()
        .describe("Postern's own token service; not opened where absent, and then nothing is minted"),
    })
    .describe('What is listened on; only check is required')

/** `state` as other parts read it. */
export type StateSettings = { readonly kind: 'memory' } | { readonly kind: 'file'; readonly path: string } | RedisSettings

const stateExpected =
  'expected "memory:", "file:PATH", "redis://host:port/db", "rediss://host:port/db" or { redis: { … } } with url, cluster or sentinel'

/** `state` */
export const state = () =>
  z
    .union([
      secret().transform((value, context): StateSettings => {
        if (value.shape === 'memory:') return { kind: 'memory' }
        if (value.literal && /^file:[^\u0000]+$/.test(value.shape)) return { kind: 'file', path: value.shape.slice('file:'.length) }
        if (!isRedisUrl(value.shape)) context.addIssue({ code: 'custom', message: stateExpected })
        return { kind: 'redis', url: value }
      }),
      redis(),
    ])
    .prefault('file:./data/postern.db')
    .describe(
      'memory: (one replica), file:PATH (SQLite, one host), redis:// or rediss:// (replicas share it); Redis Sentinel and Cluster as { redis: … }',
    )

/** `check` */
export const check = () =>
  z
    .strictObject({
      max_deadline: duration({ min: '1ms', max: '60s' }).prefault('2s').describe('no check takes longer, whatever grpc-timeout says'),
      max_in_flight: z
        .int()
        .min(1)
        .max(1_000_000)
        .prefault(1024)
        .describe('checks decided at a time, in each worker; more are `overloaded`'),
      max_message: size().prefault('256KiB').describe('largest CheckRequest'),
    })
    .prefault({})
    .describe('Bounds of a check')
