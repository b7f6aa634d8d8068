import { existsSync, readFileSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Command } from 'commander'
import { type JsonObject, readJsonObject } from '../core/json.ts'
import { systemCode } from '../core/system-code.ts'
import { readConnection } from './connection.ts'
import { CommandFailed, type Io } from './io.ts'
import { type CommonOptions, isUsualPolicy, loadPolicy, withCommon } from './policy.ts'

export interface IssuerOptions extends CommonOptions {
  readonly issuer?: string
  readonly ca?: string
}

/** The options of commands that speak to the issuer's listener. */
export const withIssuer = (command: Command, io: Io): Command =>
  withCommon(command, io)
    .option('--issuer <url>', 'http(s)://host:port of the issuer, instead of POSTERN_ISSUER_URL and that of the policy file')
    .option('--ca <file>', 'PEM file that the issuer is trusted by')

export interface Answer {
  readonly status: number
  /** {} where it is no JSON object. */
  readonly json: JsonObject
}

/** A service that is asked by its URL. */
export interface IssuerClient {
  readonly url: string
  /** @throws {CommandFailed} where it cannot be reached */
  readonly ask: (method: 'GET' | 'POST', url: string, headers?: Readonly<Record<string, string>>, body?: string) => Promise<Answer>
}

const timeoutMs = 10_000
/** Stands for `--issuer`. */
const urlVariable = 'POSTERN_ISSUER_URL'

/** Where the issuer is: as the options say, or the environment, else the policy file, else the connection file. @throws {CommandFailed} */
export async function openIssuerClient(options: IssuerOptions, io: Io): Promise<IssuerClient> {
  const url = (await urlOf(options, io)).replace(/\/$/, '')
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed || !/^https?:$/.test(parsed.protocol))
    throw new CommandFailed(2, `--issuer ${url}: expected http://host:port or https://host:port`)
  const ca = options.ca === undefined ? {} : { ca: readCa(options.ca) }
  return {
    url,
    ask: (method, at, headers = {}, body) =>
      new Promise((resolve, reject) => {
        const start = at.startsWith('https:') ? httpsRequest : httpRequest
        const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
        const options = { ...ca, method, headers: { ...headers, ...length }, agent: false as const, timeout: timeoutMs }
        const outgoing = start(at, options, (incoming: IncomingMessage) => {
          const parts: Buffer[] = []
          incoming.on('error', reject).on('data', (part: Buffer) => parts.push(part))
          incoming.on('end', () => {
            const json = readJsonObject(Buffer.concat(parts).toString()) ?? {}
            // A connection file may name no other, and what it says of tokens would mislead.
            if (String(json['type']).startsWith('urn:postern:admin:')) {
              const sentence = `${new URL(at).origin} is the admin listener: give the URL of the issuer listener by --issuer`
              reject(new CommandFailed(1, sentence))
            } else resolve({ status: incoming.statusCode ?? 0, json })
          })
        })
        outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error(`no answer within ${timeoutMs / 1000} s`))))
        outgoing.on('error', (cause: NodeJS.ErrnoException) =>
          reject(new CommandFailed(1, `the issuer at ${new URL(at).origin} cannot be reached: ${cause.code ?? cause.message}`)),
        )
        outgoing.end(body)
      }),
  }
}

async function urlOf(options: IssuerOptions, io: Io): Promise<string> {
  const given = options.issuer ?? io.env[urlVariable]
  if (given !== undefined) return given
  if (!existsSync(options.config) && isUsualPolicy(options, io)) {
    const connection = readConnection(io.env)
    if (connection) return connection.url
    throw new CommandFailed(2, 'where the issuer is, is not known: give --issuer URL')
  }
  const { listen } = (await loadPolicy(options, io)).settings
  if (!listen.issuer) throw new CommandFailed(2, `${options.config}: there is no listen.issuer: give --issuer URL, or add the listener`)
  return listen.issuer.url ?? `${listen.issuer.tls.mode === 'none' ? 'http' : 'https'}://${listen.issuer.address}`
}

function readCa(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    throw new CommandFailed(2, `${file}: cannot be read (${systemCode(cause)})`)
  }
}
