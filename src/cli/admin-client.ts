import { existsSync, readFileSync } from 'node:fs'
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https'
import { setTimeout } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Loaded } from '../config/read.ts'
import { realmPath } from '../config/realm.ts'
import { parseAddress } from '../config/schema-listen.ts'
import { type JsonObject, readJsonObject } from '../core/json.ts'
import { systemCode } from '../core/system-code.ts'
import { readConnection, secretVariable, urlVariable } from './connection.ts'
import { CommandFailed, type Io } from './io.ts'
import { type CommonOptions, isUsualPolicy, loadPolicy, tryPolicy, withCommon } from './policy.ts'

export interface AdminOptions extends CommonOptions {
  readonly admin?: string
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

/** The options of commands that speak to a running service. */
export function withAdmin(command: Command, io: Io): Command {
  return withCommon(command, io)
    .option('--admin <url>', 'http(s)://host:port or unix:/path of the admin listener, instead of that of the policy file')
    .option('--ca <file>', 'PEM file that the listener is trusted by')
    .option('--cert <file>', 'PEM file of a client certificate')
    .option('--key <file>', 'PEM file of its key')
}

/** Header fields of a request, by their names in lower case. */
type Fields = Readonly<Record<string, string>>

/** A body as it is sent. */
export interface SentText {
  readonly type: string
  readonly text: string
}

/** Any answer. */
export interface AdminAnswer {
  readonly status: number
  readonly json: JsonObject
  /** Seconds, of `Retry-After`; 0 where there is none. */
  readonly retryAfter: number
}

/** A service's admin API, logged in. */
export interface AdminClient {
  /** @returns the JSON answer; {} where it has none. @throws {CommandFailed} for any other than 2xx */
  readonly call: (method: string, path: string, body?: object, headers?: Fields) => Promise<JsonObject>
  /**
   * One of many calls, on connections that are kept, for as long as it takes: logs in again where the token has expired.
   * @returns whatever it is answered
   * @throws {AdminUnreached}
   */
  readonly attempt: (method: string, path: string, body: SentText, headers?: Fields) => Promise<AdminAnswer>
}

interface Place {
  readonly tls: boolean
  readonly at: string
  readonly options: RequestOptions
  /** Before each path: that of the realm, where the listener serves several. */
  readonly below: string
}

const timeoutMs = 10_000
/** Milliseconds for one of many large calls. */
const attemptTimeoutMs = 60_000
const waitMs = 400
const mostWaits = 10
const read = (file: string): Buffer => {
  try {
    return readFileSync(file)
  } catch (cause) {
    throw new CommandFailed(2, `${file}: cannot be read (${systemCode(cause)})`)
  }
}

function placeOf(url: string, below = ''): Place {
  if (url.startsWith('unix:')) return { tls: false, at: url, options: { socketPath: url.slice('unix:'.length), host: 'localhost' }, below }
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed || !/^https?:$/.test(parsed.protocol))
    throw new CommandFailed(2, `--admin ${url}: expected http://host:port, https://host:port or unix:/path`)
  const host = parsed.hostname.replace(/^\[|\]$/g, '')
  const tls = parsed.protocol === 'https:'
  const options = { host, port: parsed.port || (tls ? 443 : 80), headers: { host: parsed.host } }
  return { tls, at: parsed.origin, options, below: parsed.pathname.replace(/\/$/, '') || below }
}

/** Where a listener of several realms has that of the command. */
const belowOf = ({ tenant, settings }: Loaded): string => (tenant === undefined ? '' : realmPath(settings.realm))

/** The same, where all else is known: a file that cannot be read here says nothing. */
async function belowIfKnown(options: AdminOptions, io: Io): Promise<string> {
  if (options.realm === undefined || !existsSync(options.config)) return ''
  const read = await tryPolicy(options, io)
  return read.ok ? belowOf(read.loaded) : ''
}

/**
 * Where the admin listener is, and the secret for it: from the options and the environment, else from the policy file, else,
 * where there is none in its usual place, from the connection file.
 */
async function find(asked: AdminOptions, io: Io): Promise<{ place: Place; secret: string | undefined; tls: RequestOptions }> {
  const known = asked.admin ?? io.env[urlVariable]
  const connection = known === undefined && !existsSync(asked.config) && isUsualPolicy(asked, io) ? readConnection(io.env) : undefined
  const url = known ?? connection?.url
  const options = url === undefined ? asked : { ...asked, admin: url }
  if ((options.cert === undefined) !== (options.key === undefined)) throw new CommandFailed(2, '--cert and --key go together: give both')
  const given = io.env[secretVariable] ?? connection?.secret
  const own = {
    ...(options.ca === undefined ? {} : { ca: read(options.ca) }),
    ...(options.cert === undefined ? {} : { cert: read(options.cert) }),
    ...(options.key === undefined ? {} : { key: read(options.key) }),
  }
  if (options.admin !== undefined && (given !== undefined || options.cert !== undefined))
    return { place: placeOf(options.admin, await belowIfKnown(options, io)), secret: given, tls: own }
  const loaded = await loadPolicy(options, io)
  const { settings } = loaded
  const below = belowOf(loaded)
  const { admin } = settings.listen
  if (!admin && options.admin === undefined)
    throw new CommandFailed(2, `${options.config}: there is no listen.admin: give the address by --admin, or add the listener`)
  let secret = given
  try {
    secret ??= settings.admin.secret?.read()
  } catch {
    throw new CommandFailed(
      1,
      'the admin secret cannot be read here: set POSTERN_ADMIN_SECRET, or what admin.secret of the policy file refers to',
    )
  }
  if (options.admin !== undefined || !admin) return { place: placeOf(options.admin ?? '', below), secret, tls: own }
  const at = parseAddress(admin.address)
  const secure = admin.tls.mode !== 'none'
  // The certificate in the policy file is trusted as it is: whoever can read it is on the service's side.
  const trust: object =
    secure && options.ca === undefined && admin.tls.cert !== undefined ? { ca: read(admin.tls.cert), allowPartialTrustChain: true } : {}
  if (at?.kind === 'unix') return { place: { ...placeOf(admin.address, below), tls: secure }, secret, tls: { ...trust, ...own } }
  const anywhere = at?.host === '0.0.0.0' ? '127.0.0.1' : at?.host === '::' ? '::1' : (at?.host ?? '127.0.0.1')
  const host = anywhere.includes(':') ? `[${anywhere}]` : anywhere
  return { place: placeOf(`${secure ? 'https' : 'http'}://${host}:${at?.port}`, below), secret, tls: { ...trust, ...own } }
}

interface Sent {
  readonly body: SentText | undefined
  readonly token: string | undefined
  readonly headers: Fields
  /** Absent: a connection of its own. */
  readonly agent?: HttpAgent
}

function send({ place, tls }: { place: Place; tls: RequestOptions }, method: string, path: string, sent: Sent) {
  const { body, token, agent } = sent
  const headers = {
    ...place.options.headers,
    ...(body && { 'content-type': body.type, 'content-length': String(Buffer.byteLength(body.text)) }),
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...sent.headers,
  }
  return new Promise<AdminAnswer>((resolve, reject) => {
    const start = place.tls ? httpsRequest : httpRequest
    const outgoing = start(
      {
        ...place.options,
        ...tls,
        method,
        path: place.below + path,
        headers,
        agent: agent ?? false,
        timeout: agent ? attemptTimeoutMs : timeoutMs,
      },
      (incoming: IncomingMessage) => {
        const parts: Buffer[] = []
        incoming.on('error', reject).on('data', (part: Buffer) => parts.push(part))
        incoming.on('end', () => {
          const json = readJsonObject(Buffer.concat(parts).toString()) ?? {}
          resolve({ status: incoming.statusCode ?? 0, json, retryAfter: Number(incoming.headers['retry-after']) || 0 })
        })
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })))
    outgoing.on('error', reject)
    outgoing.end(body?.text)
  })
}

const untrusted = [
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]

const advice: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; is the service running?',
  ENOENT: 'there is no such socket; is the service running?',
  ENOTFOUND: 'there is no such host',
  EACCES: 'the socket may not be opened by this user',
  ECONNRESET: 'it closed the connection; is it http or https there, and is the client certificate one of its own CA?',
  EPROTO: 'it does not speak TLS; is it http:// there?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS; is it http:// there?',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS; is it http:// there?',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it asks for a client certificate: give one by --cert and --key',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not trust the client certificate',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name: give a name that it has by --admin',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ...Object.fromEntries(untrusted.map((code) => [code, 'its certificate is not trusted here: name its CA by --ca'])),
  ETIMEDOUT: `no answer within ${timeoutMs / 1000} s`,
}

/** There was no answer. */
export class AdminUnreached extends CommandFailed {}

/** An answer that is no success. */
export class AdminRefused extends CommandFailed {
  readonly status: number

  constructor(status: number, sentence: string) {
    super(1, sentence)
    this.status = status
  }
}

/** Logs in, unless the client certificate is to speak for itself. @throws {CommandFailed} saying what to do */
export async function openAdmin(options: AdminOptions, io: Io): Promise<AdminClient> {
  const found = await find(options, io)
  const { place, secret } = found
  const once = (method: string, path: string, sent: Sent) =>
    send(found, method, path, sent).catch((cause: NodeJS.ErrnoException) => {
      throw new AdminUnreached(1, `the admin listener at ${place.at} cannot be reached: ${advice[cause.code ?? ''] ?? cause.message}`)
    })
  const ask = async (method: string, path: string, body: object | undefined, token: string | undefined, headers: Fields = {}) => {
    const sent = { body: body && { type: 'application/json', text: JSON.stringify(body) }, token, headers }
    let answer = await once(method, path, sent)
    // Each command logs in: a script that runs many soon meets the limit of logins, and is only slowed down by it.
    for (let waits = 0; answer.status === 429 && waits < mostWaits; waits++) {
      await setTimeout(waitMs)
      answer = await once(method, path, sent)
    }
    if (answer.status >= 200 && answer.status < 300) return answer.json
    throw new AdminRefused(answer.status, `${method} ${path}: ${answerText(answer)}`)
  }
  if (secret === undefined && options.cert === undefined) {
    throw new CommandFailed(1, 'there is no admin secret: set POSTERN_ADMIN_SECRET, or admin.secret in the policy file')
  }
  const login = async (): Promise<JsonObject | undefined> => {
    if (secret === undefined) return undefined
    try {
      return await ask('POST', '/v1/admin/auth', { secret }, undefined)
    } catch (cause) {
      // No login without an audit trail to record it in; an allow-listed workload needs none, and may see why.
      if (options.cert !== undefined && cause instanceof AdminRefused && cause.status === 503) return undefined
      throw cause
    }
  }
  const tokenOf = async () => {
    const admitted = await login()
    return admitted && String(admitted['access_token'])
  }
  let token = await tokenOf()
  const agent = place.tls ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true })
  const attempt = async (method: string, path: string, body: SentText, headers: Fields = {}): Promise<AdminAnswer> => {
    const used = token
    const answer = await once(method, path, { body, token: used, headers, agent })
    if (answer.status !== 401 || used === undefined) return answer
    // Of several that find it expired, one logs in.
    if (token === used) renewal ??= tokenOf().finally(() => (renewal = undefined))
    if (renewal) token = await renewal
    return once(method, path, { body, token, headers, agent })
  }
  let renewal: Promise<string | undefined> | undefined
  const call: AdminClient['call'] = async (method, path, body, headers) => {
    try {
      return await ask(method, path, body, token, headers)
    } catch (cause) {
      if (token === undefined || !(cause instanceof AdminRefused) || cause.status !== 401) throw cause
      token = await tokenOf()
      return ask(method, path, body, token, headers)
    }
  }
  return { call, attempt }
}

/** What a refusal says: status, reason and sentence. */
export const answerText = ({ status, json: { reason, detail } }: Pick<AdminAnswer, 'status' | 'json'>): string =>
  `${status}${reason === undefined ? '' : ` ${String(reason)}`}${detail === undefined ? '' : `: ${String(detail)}`}`
