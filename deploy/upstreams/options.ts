import { parseArgs } from 'node:util'

/** Wrong arguments: one sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** What both samples are told: by a flag, else by the environment (`PICOD_TOKEN_TYPE` for `--token-type`). */
export interface CommonOptions {
  readonly listen: { readonly host: string; readonly port: number }
  /** A second listener without TLS and tokens, which answers `GET /healthz` alone: a kubelet has no certificate. */
  readonly health: { readonly host: string; readonly port: number } | undefined
  readonly mode: 'mtls' | 'jwt'
  readonly issuer: string
  readonly jwks: string
  /** File with the PEM of the authorities of the JWKS's server. */
  readonly jwksCa: string | undefined
  readonly allowPlaintextJwks: boolean
  readonly audience: string
  readonly tokenType: 'JWT' | 'at+jwt' | 'any'
  /** Whether the tokens' `resource` is looked at. Keycloak writes none. */
  readonly resource: 'claim' | 'unchecked'
  /** With `mtls`. */
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string } | undefined
  readonly allow: readonly string[]
}

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const common = {
  ...{ listen: text, health: text, mode: text, issuer: text, jwks: text, 'jwks-ca': text, 'allow-plaintext-jwks': flag },
  ...{
    audience: text,
    'token-type': text,
    resource: text,
    cert: text,
    key: text,
    ca: text,
    allow: { ...text, multiple: true },
    help: flag,
  },
} as const

type Given = Readonly<Record<string, string | boolean | readonly string[] | undefined>>

/** The flags of a program: those given, else what the environment says. */
export class Flags {
  readonly #program: string
  readonly #given: Given
  readonly #env: NodeJS.ProcessEnv

  /** @param own flags with a value @param switches flags without one @throws {UsageError} */
  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv, own: readonly string[], switches: readonly string[] = []) {
    const more = Object.fromEntries([...own.map((name) => [name, text] as const), ...switches.map((name) => [name, flag] as const)])
    try {
      this.#given = parseArgs({ args: [...args], options: { ...common, ...more } }).values as Given
    } catch (cause) {
      throw new UsageError(cause instanceof Error ? cause.message : String(cause))
    }
    this.#program = program
    this.#env = env
  }

  text(name: string): string | undefined {
    const given = this.#given[name]
    const value = typeof given === 'string' ? given : this.#env[this.variable(name)]
    return value === '' ? undefined : value
  }

  /** @throws {UsageError} where neither says it */
  needed(name: string): string {
    const value = this.text(name)
    if (value === undefined) throw new UsageError(`expected --${name} or ${this.variable(name)}`)
    return value
  }

  oneOf<T extends string>(name: string, choices: readonly [T, ...T[]]): T {
    const value = this.text(name) ?? choices[0]
    const found = choices.find((one) => one === value)
    if (found === undefined) throw new UsageError(`--${name} ${value}: expected ${choices.join(' or ')}`)
    return found
  }

  /** Given several times, or with commas in the environment. */
  list(name: string): readonly string[] {
    const given = this.#given[name]
    return Array.isArray(given) ? given : (this.#env[this.variable(name)] ?? '').split(',').filter((one) => one !== '')
  }

  on(name: string): boolean {
    if (this.#given[name] === true) return true
    const value = this.#env[this.variable(name)] ?? ''
    if (!['', 'true', 'false'].includes(value)) throw new UsageError(`${this.variable(name)}=${value}: expected true or false`)
    return value === 'true'
  }

  variable(name: string): string {
    return `${this.#program}_${name}`.toUpperCase().replaceAll('-', '_')
  }
}

/** @param program its name is the audience that is meant where none is said @throws {UsageError} */
export function readCommon(program: string, flags: Flags): CommonOptions {
  const mode = flags.oneOf('mode', ['mtls', 'jwt'])
  const issuer = flags.needed('issuer')
  const health = flags.text('health')
  const allow = flags.list('allow')
  if (mode === 'mtls' && allow.length === 0) throw new UsageError('--mode mtls: expected --allow SPIFFE-ID, the router')
  const jwks = flags.text('jwks') ?? `${issuer}/jwks.json`
  if (!URL.canParse(jwks)) throw new UsageError(`--jwks ${jwks}: expected a URL`)
  return {
    ...{ mode, issuer, jwks, allow },
    listen: address('listen', flags.needed('listen')),
    health: health === undefined ? undefined : address('health', health),
    jwksCa: flags.text('jwks-ca'),
    allowPlaintextJwks: flags.on('allow-plaintext-jwks'),
    audience: flags.text('audience') ?? program,
    tokenType: flags.oneOf('token-type', ['JWT', 'at+jwt', 'any']),
    resource: flags.oneOf('resource', ['claim', 'unchecked']),
    tls: mode === 'jwt' ? undefined : { cert: flags.needed('cert'), key: flags.needed('key'), ca: flags.needed('ca') },
  }
}

function address(name: string, value: string): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:]+)\]|([^:]+)):(\d{1,5})$/.exec(value) ?? []
  const host = bracketed ?? plain
  if (host === undefined || Number(port) > 65_535) throw new UsageError(`--${name} ${value}: expected HOST:PORT`)
  return { host, port: Number(port) }
}
