import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { createLocalJWKSet, errors, type JSONWebKeySet, jwtVerify } from 'jose'
import type { JsonObject } from '../core/json.ts'
import { parseJwt } from '../core/jwt.ts'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type CommonOptions, withCommon } from './policy.ts'
import { table } from './table.ts'
import { exchangeCommand } from './token-exchange.ts'
import { releaseCommand } from './token-release.ts'

interface MintOptions extends AdminOptions {
  readonly subject: string
  readonly role: readonly string[]
  readonly scope: readonly string[]
  readonly audience?: string
  readonly ttl?: string
}

interface InspectOptions extends CommonOptions {
  readonly jwks?: string
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, ...value.split(',')]
const unit = { s: 1, m: 60, h: 3600, d: 86_400 } as const

/** `300`, `300s`, `5m`, `1h` or `1d` in seconds. */
export function seconds(text: string): number {
  const match = /^(\d{1,9})([smhd]?)$/.exec(text)
  if (!match) throw new CommandFailed(2, `"${text}": expected a time span such as 300s, 5m or 1h`)
  return Number(match[1]) * unit[(match[2] || 's') as keyof typeof unit]
}

/** `in 4m 10s`, `2h ago`. */
export function relative(at: number, now: number): string {
  const apart = Math.abs(Math.round(at - now))
  const parts = [
    `${Math.floor(apart / 86_400)}d`,
    `${Math.floor((apart % 86_400) / 3600)}h`,
    `${Math.floor((apart % 3600) / 60)}m`,
    `${apart % 60}s`,
  ]
  const text =
    parts
      .filter((part) => !part.startsWith('0'))
      .slice(0, 2)
      .join(' ') || '0s'
  return at >= now ? `in ${text}` : `${text} ago`
}

function times(payload: JsonObject, now: number): [string, string][] {
  const rows: [string, string][] = []
  for (const name of ['iat', 'nbf', 'exp']) {
    const at = payload[name]
    if (typeof at === 'number' && Math.abs(at) < 8e12) rows.push([name, `${new Date(at * 1000).toISOString()} (${relative(at, now)})`])
  }
  return rows
}

/** Whether a key of the set signed it; times are told apart from that. */
async function signedBy(token: string, file: string): Promise<string> {
  let keys: JSONWebKeySet
  try {
    keys = JSON.parse(readFileSync(file, 'utf8')) as JSONWebKeySet
  } catch {
    throw new CommandFailed(2, `${file}: expected a readable JWKS file`)
  }
  try {
    const { protectedHeader } = await jwtVerify(token, createLocalJWKSet(keys), {
      currentDate: new Date(0),
      clockTolerance: Number.MAX_SAFE_INTEGER,
    })
    return `valid (kid ${protectedHeader.kid ?? 'none'})`
  } catch (cause) {
    if (cause instanceof errors.JWTExpired || cause instanceof errors.JWTClaimValidationFailed) return 'valid'
    return `NOT valid: ${cause instanceof errors.JOSEError ? cause.code : 'the key set cannot be used'}`
  }
}

/** `postern token mint|inspect|exchange|release`. */
export function tokenCommand(program: Command, io: Io): void {
  const token = program.command('token').description('mint tokens, and look into them')
  const mint = token
    .command('mint')
    .description('an edge token of our own issuer; prints the token alone')
    .requiredOption('--subject <subject>', 'sub')
    .option('--role <role>', 'a role; may be given several times', collect, [])
    .option('--scope <scope>', 'a scope; may be given several times', collect, [])
    .option('--audience <audience>', 'that of one of the postern validators; the first where absent')
    .option('--ttl <span>', 'lifetime, at most 24h (default 300s)')
  withAdmin(mint, io).action(async (options: MintOptions) => {
    const { subject, role, scope, audience, ttl } = options
    const body = {
      subject,
      roles: role,
      scope,
      ...(audience === undefined ? {} : { audience }),
      ...(ttl === undefined ? {} : { ttl: seconds(ttl) }),
    }
    const answer = await (await openAdmin(options, io)).call('POST', '/v1/admin/tokens', body)
    if (options.json) printJson(io, answer)
    else io.out(`${String(answer['access_token'])}\n`)
  })

  exchangeCommand(token, io)
  releaseCommand(token, io)

  const inspect = token
    .command('inspect')
    .description('decode a token offline; verifies nothing without --jwks')
    .argument('[token]', 'the token, or - for standard input', '-')
    .option('--jwks <file>', 'key set to verify the signature with')
  withCommon(inspect, io).action(async (argument: string, options: InspectOptions) => {
    const text = (argument === '-' ? await io.stdin() : argument).trim().replace(/^Bearer\s+/i, '')
    const jwt = parseJwt(text)
    if (!jwt)
      throw new CommandFailed(1, 'this is no JWT: expected three base64url parts of at most 8 KiB, the first two of them JSON objects')
    const now = Date.now() / 1000
    const signature = options.jwks === undefined ? 'not verified' : await signedBy(text, options.jwks)
    const expired = typeof jwt.payload['exp'] === 'number' && jwt.payload['exp'] <= now
    if (options.json) printJson(io, { header: jwt.header, payload: jwt.payload, signature, expired })
    else {
      io.out(`header\n${JSON.stringify(jwt.header, undefined, 2)}\npayload\n${JSON.stringify(jwt.payload, undefined, 2)}\n`)
      io.out(table(undefined, [...times(jwt.payload, now), ['expired', expired ? 'yes' : 'no'], ['signature', signature]]))
    }
    if (signature.startsWith('NOT')) throw new CommandFailed(1)
  })
}
