import { z } from 'zod'
import type { Secret } from './secret.ts'
import { filePath, secret, some, text } from './values.ts'

/** Whether the text is a URL of Redis, references aside. */
export function isRedisUrl(shape: string): boolean {
  if (!/^rediss?:\/\//.test(shape) || !URL.canParse(shape)) return false
  const url = new URL(shape)
  return url.hostname !== '' && /^(?:|\/|\/\d{1,4})$/.test(url.pathname) && url.search === '' && url.hash === ''
}

/** How a Redis is entered, in whatever form. */
interface RedisEntrySettings {
  readonly kind: 'redis'
  readonly tls?: { readonly ca?: string | undefined; readonly cert?: string | undefined; readonly key?: string | undefined } | undefined
  readonly username?: string | undefined
  readonly password?: Secret | undefined
}

/** `state.redis` as other parts read it: one of three forms. */
export type RedisSettings = RedisEntrySettings &
  (
    | { readonly url: Secret; readonly cluster?: undefined; readonly sentinel?: undefined }
    | { readonly cluster: readonly string[]; readonly url?: undefined; readonly sentinel?: undefined }
    | {
        readonly sentinel: {
          readonly name: string
          readonly hosts: readonly string[]
          readonly username?: string | undefined
          readonly password?: Secret | undefined
        }
        readonly url?: undefined
        readonly cluster?: undefined
      }
  )

const hostPort = (example: string, more = '') => z.string().refine(isHostPort, { error: `expected host:port, such as "${example}"${more}` })

function isHostPort(text: string): boolean {
  const match = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?):(\d{1,5})$/.exec(text)
  return match !== null && Number(match[1]) > 0 && Number(match[1]) < 65536
}

/** What Redis is trusted by, and the client certificate that it is shown. */
export const redisFiles = () =>
  z.strictObject({
    ca: filePath().optional().describe("PEM file with the authorities that Redis is trusted by instead of the system's"),
    cert: filePath().optional().describe('PEM file with the client certificate'),
    key: filePath().optional().describe('PEM file with its private key; not readable by others'),
  })

const parts = () =>
  z.strictObject({
    url: secret().optional().describe('redis://host:6379/0 or rediss://…: one Redis'),
    cluster: some(hostPort('redis-0:6379', ', and no database: a cluster has database 0 alone'))
      .optional()
      .describe('Redis Cluster: host:port of some of its nodes, which name the others'),
    sentinel: z
      .strictObject({
        name: text().describe('of the primary, as the Sentinels call it'),
        hosts: some(hostPort('sentinel-0:26379')).describe('host:port of each Sentinel; more than half of them have to answer'),
        username: text().optional().describe('ACL user of the Sentinels'),
        password: secret().optional().describe('password of the Sentinels'),
      })
      .optional()
      .describe('a primary and replicas that Sentinels watch'),
    tls: redisFiles()
      .optional()
      .describe('files for rediss://; with cluster or sentinel it says that TLS is spoken, to the Sentinels too, and may be empty'),
    username: text().optional().describe('ACL user'),
    password: secret().optional().describe('password of the user'),
  })

/** `state.redis` */
export const redis = () =>
  z.strictObject({ redis: parts() }).transform(({ redis }, context): RedisSettings => {
    const { url, cluster, sentinel, tls, username, password } = redis
    const fault = (path: string[], message: string) => void context.addIssue({ code: 'custom', path: ['redis', ...path], message })
    const given = [url && 'url', cluster && 'cluster', sentinel && 'sentinel'].filter((one) => one !== undefined)
    if (given.length === 0)
      fault([], 'expected one of url (one Redis), cluster (nodes of a Redis Cluster) and sentinel (Sentinels and the name of the primary)')
    for (const more of given.slice(1)) fault([more], `expected one of url, cluster and sentinel: "${given[0]}" is given as well`)
    const entry = { kind: 'redis', tls, username, password } as const
    if (cluster) return { ...entry, cluster }
    if (sentinel) return { ...entry, sentinel }
    if (url) {
      if (!isRedisUrl(url.shape)) fault(['url'], 'expected "redis://host:port/db" or "rediss://host:port/db"')
      return { ...entry, url }
    }
    return z.NEVER
  })
