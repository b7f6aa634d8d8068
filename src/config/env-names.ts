import type { Path, Report } from './faults.ts'
import { parseAddress } from './schema-listen.ts'

type Env = Readonly<Record<string, string | undefined>>

/** A short name, which stands for the environment override of a setting. */
export interface ShortName {
  readonly name: string
  readonly path: Path
  /** What is written there; absent: the text itself. */
  readonly value?: (text: string) => unknown
  /** Told in the reference. */
  readonly note?: string
}

/** Whole seconds may go without their unit. */
const seconds = (text: string): string => (/^\d{1,12}$/.test(text) ? `${Number(text)}s` : text)
const flag = (text: string): unknown =>
  text === 'true' || text === '1' ? true : text === 'false' || text === '0' || text === '' ? false : text
const tls = (file: string): Path => ['listen', 'issuer', 'tls', file]
const inSeconds = 'whole seconds, or a duration'

/** Short names of single settings, for operators who know them from other brokers. */
export const shortNames: readonly ShortName[] = [
  { name: 'POSTERN_TRUST_DOMAIN', path: ['broker', 'trust_domain'] },
  { name: 'POSTERN_DEFAULT_TTL', path: ['broker', 'default_ttl'], value: seconds, note: inSeconds },
  { name: 'POSTERN_MAX_TTL', path: ['broker', 'max_ttl'], value: seconds, note: `${inSeconds}; 0: no ceiling` },
  { name: 'POSTERN_APP_TOKEN_TTL', path: ['broker', 'app_token_ttl'], value: seconds, note: inSeconds },
  { name: 'POSTERN_AUDIENCE', path: ['broker', 'audience'], note: "audience of agents' tokens" },
  { name: 'POSTERN_SEED_TOKENS', path: ['broker', 'seed_tokens'], value: flag, note: 'true or false; for development alone' },
  { name: 'POSTERN_DB_PATH', path: ['state'], value: (text) => `file:${text}`, note: 'path of the SQLite file' },
  { name: 'POSTERN_SIGNING_KEY_PATH', path: ['issuer', 'keys', 'file'], note: 'path of the file with the signing keys' },
  { name: 'POSTERN_TLS_MODE', path: tls('mode'), note: 'none, tls or mtls' },
  { name: 'POSTERN_TLS_CERT', path: tls('cert') },
  { name: 'POSTERN_TLS_KEY', path: tls('key') },
  { name: 'POSTERN_TLS_CLIENT_CA', path: tls('ca') },
]

/** These two make one address. */
export const portName = 'POSTERN_PORT'
export const hostName = 'POSTERN_BIND_ADDRESS'
const addressPath: Path = ['listen', 'issuer', 'address']
/** Where neither the environment nor the file says more. */
export const usualHost = '127.0.0.1'
export const usualPort = '8080'

/** Values of `log.level` that others know, beside our own. */
export const logLevels: ReadonlyMap<string, string> = new Map([
  ['quiet', 'error'],
  ['standard', 'info'],
  ['verbose', 'info'],
])

/** A setting that short names set. */
export interface NamedSetting {
  readonly path: Path
  readonly value: unknown
  /** Those that were given. */
  readonly variables: readonly string[]
}

/** Whether a name is a short one. */
export const isShortName = (name: string): boolean => name === portName || name === hostName || shortNames.some((one) => one.name === name)

/**
 * What the short names in the environment set.
 * @param address `listen.issuer.address` as the file has it
 * @param report gets what cannot be meant
 */
export function namedSettings(env: Env, address: unknown, report: Report): NamedSetting[] {
  const found: NamedSetting[] = []
  for (const { name, path, value } of shortNames) {
    const text = env[name]
    if (text !== undefined) found.push({ path, value: value ? value(text) : text, variables: [name] })
  }
  const { [portName]: port, [hostName]: host } = env
  if (port === undefined && host === undefined) return found
  if (port !== undefined && !/^\d{1,5}$/.test(port)) {
    report([], portFault(port))
    return found
  }
  const known = typeof address === 'string' ? parseAddress(address) : undefined
  const before = known?.kind === 'tcp' ? known : undefined
  const to = host ?? before?.host ?? usualHost
  found.push({
    path: addressPath,
    value: `${to.includes(':') && !to.startsWith('[') ? `[${to}]` : to}:${port ?? before?.port ?? usualPort}`,
    variables: [...(host === undefined ? [] : [hostName]), ...(port === undefined ? [] : [portName])],
  })
  return found
}

/** Kubernetes puts `<SERVICE>_PORT=tcp://…` into the environment of every pod beside a Service of that name. */
const portFault = (port: string): string =>
  port.startsWith('tcp://')
    ? `in environment variable ${portName}: "${port}" is what Kubernetes tells pods of a Service named postern: write enableServiceLinks: false into the pod's spec`
    : `in environment variable ${portName}: "${port}" is no port: expected a whole number up to 65535`
