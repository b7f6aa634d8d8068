import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { grantTypes } from '../core/issuer-client.ts'
import { systemCode } from '../core/system-code.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type IssuerClient, type IssuerOptions, openIssuerClient, withIssuer } from './issuer-client.ts'

interface ExchangeOptions extends IssuerOptions {
  readonly subjectToken: string
  readonly audience: readonly string[]
  readonly scope: readonly string[]
  readonly clientId?: string
  readonly clientSecret?: string
  readonly clientSecretFile?: string
}

const secretVariable = 'POSTERN_CLIENT_SECRET'
const wellKnown = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server']
const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

/** Its token endpoint, by discovery alone (OpenID Connect Discovery 1.0, section 4; RFC 8414, section 3). */
async function tokenEndpoint(issuer: IssuerClient): Promise<string> {
  for (const path of wellKnown) {
    const { status, json } = await issuer.ask('GET', issuer.url + path)
    if (status === 200 && typeof json['token_endpoint'] === 'string') return json['token_endpoint']
  }
  throw new CommandFailed(1, `the issuer at ${issuer.url} names no token endpoint: its policy has neither a client nor a federation rule`)
}

function secretOf({ clientSecret, clientSecretFile }: ExchangeOptions, io: Io): string | undefined {
  if (clientSecret !== undefined && clientSecretFile !== undefined)
    throw new CommandFailed(2, 'give --client-secret or --client-secret-file, not both')
  if (clientSecretFile === undefined) return clientSecret ?? io.env[secretVariable]
  try {
    return readFileSync(clientSecretFile, 'utf8').trim()
  } catch (cause) {
    throw new CommandFailed(2, `${clientSecretFile}: cannot be read (${systemCode(cause)})`)
  }
}

/** As RFC 6749, section 2.3.1 has it: id and secret are form-encoded before they are joined. */
const basic = (id: string, secret: string): string => {
  const encoded = (text: string): string => new URLSearchParams({ text }).toString().slice('text='.length)
  return `Basic ${Buffer.from(`${encoded(id)}:${encoded(secret)}`).toString('base64')}`
}

/** `postern token exchange` (RFC 8693). */
export function exchangeCommand(token: Command, io: Io): void {
  const exchange = token
    .command('exchange')
    .description('swap a token for one of our issuer (RFC 8693); prints the token alone')
    .requiredOption('--subject-token <token>', 'the token, or - for standard input')
    .option('--audience <audience>', 'what the new token is for; may be given several times', collect, [])
    .option('--scope <scope>', 'a scope; may be given several times', collect, [])
    .option('--client-id <id>', 'who asks; left out where the token of a federation rule speaks for itself')
    .option('--client-secret <secret>', `its secret (or ${secretVariable})`)
    .option('--client-secret-file <file>', 'file that holds its secret')
  withIssuer(exchange, io).action(async (options: ExchangeOptions) => {
    const { audience, scope, clientId } = options
    const subject = (options.subjectToken === '-' ? await io.stdin() : options.subjectToken).trim()
    if (subject === '') throw new CommandFailed(2, '--subject-token: expected a token')
    const secret = clientId === undefined ? undefined : secretOf(options, io)
    if (clientId !== undefined && secret === undefined)
      throw new CommandFailed(2, `the secret of ${clientId} is missing: give --client-secret-file, or set ${secretVariable}`)
    const form = new URLSearchParams({
      grant_type: grantTypes.token_exchange,
      subject_token: subject,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    })
    for (const one of audience) form.append('audience', one)
    if (scope.length > 0) form.set('scope', scope.join(' '))
    const issuer = await openIssuerClient(options, io)
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      ...(clientId === undefined || secret === undefined ? {} : { authorization: basic(clientId, secret) }),
    }
    const { status, json } = await issuer.ask('POST', await tokenEndpoint(issuer), headers, form.toString())
    if (status !== 200) {
      const [error, why] = [json['error'], json['error_description']]
      throw new CommandFailed(
        1,
        `the token was not exchanged: ${status}${error ? ` ${String(error)}` : ''}${why ? `: ${String(why)}` : ''}`,
      )
    }
    if (options.json) printJson(io, json)
    else io.out(`${String(json['access_token'])}\n`)
  })
}
