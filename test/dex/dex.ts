import { writeFileSync } from 'node:fs'
import { decodeJwt, type JWTPayload } from 'jose'
import { stringify } from 'yaml'
import { freePort } from '../support/free-port.ts'
import { type Program, startProgram } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

/** What dex's token endpoint gives. */
export interface DexTokens {
  readonly access: string
  readonly id: string
  /** Opaque; there with the scope `offline_access`. */
  readonly refresh: string | undefined
  /** Of the access token; decoded, not verified. */
  readonly claims: JWTPayload
}

export type DexClient = 'console' | 'agents'

export interface RunningDex {
  readonly issuer: string
  /** By user name and password: alice, who has no groups. */
  readonly login: (client: DexClient, ...scopes: string[]) => Promise<DexTokens>
  /** By the authorization code flow over dex's mock connector: a person with the group `authors`. */
  readonly author: (client: DexClient, ...scopes: string[]) => Promise<DexTokens>
  /** SIGKILL. */
  readonly kill: () => Promise<void>
  /** On the same port, with new keys: it keeps them in memory. */
  readonly start: () => Promise<void>
  readonly stop: () => Promise<void>
}

const secretOf = (client: DexClient): string => `${client}-secret-of-tests`
const callback = 'http://127.0.0.1/callback'

/** bcrypt of `alice-password`. */
const passwordHash = '$2b$10$abcdefghijklmnopqrstuury0MnzDo5hYf1x5ozVdqhjOmiOQD7FC'

/** Starts a dex of its own on 127.0.0.1. Needs POSTERN_TEST_DEX, as `npm test` sets it. */
export async function startDex(): Promise<RunningDex> {
  const program = process.env['POSTERN_TEST_DEX']
  if (program === undefined) throw new Error('POSTERN_TEST_DEX is not set: run these tests with `npm test -- dex`')
  const folder = temporaryFolder()
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}/dex`
  writeFileSync(
    folder.file('dex.yaml'),
    stringify({
      issuer,
      storage: { type: 'memory' },
      web: { http: `127.0.0.1:${port}` },
      oauth2: { skipApprovalScreen: true, passwordConnector: 'local' },
      enablePasswordDB: true,
      connectors: [{ type: 'mockCallback', id: 'mock', name: 'Mock' }],
      staticPasswords: [
        { email: 'alice@acme.example', hash: passwordHash, username: 'alice', userID: '0b1c2d3e-4f5a-4b6c-8d7e-9f0a1b2c3d4e' },
      ],
      staticClients: [
        { id: 'console', name: 'Console', secret: secretOf('console'), redirectURIs: [callback] },
        // Tokens for it may be had by the console too.
        { id: 'agents', name: 'Agents', secret: secretOf('agents'), redirectURIs: [callback], trustedPeers: ['console'] },
      ],
    }),
  )
  let running: Program | undefined

  const start = async () => {
    const started = startProgram(program, ['serve', folder.file('dex.yaml')])
    running = started
    await until('dex to serve', async () => {
      if (!started.running())
        throw new Error(`dex ended instead of serving:\n${[...started.stdout, ...started.stderr].slice(-20).join('\n')}`)
      return answers(`${issuer}/.well-known/openid-configuration`)
    })
  }
  const kill = async () => {
    running?.signal('SIGKILL')
    await running?.ended
  }
  const tokens = async (client: DexClient, form: Record<string, string>): Promise<DexTokens> => {
    const authorization = `Basic ${Buffer.from(`${client}:${secretOf(client)}`).toString('base64')}`
    const response = await fetch(`${issuer}/token`, { method: 'POST', headers: { authorization }, body: new URLSearchParams(form) })
    const body = (await response.json()) as { access_token?: string; id_token?: string; refresh_token?: string }
    if (body.access_token === undefined) throw new Error(`dex answered ${response.status}: ${JSON.stringify(body)}`)
    return { access: body.access_token, id: body.id_token ?? '', refresh: body.refresh_token, claims: decodeJwt(body.access_token) }
  }
  const scope = (scopes: readonly string[]): string => ['openid', 'email', 'groups', ...scopes].join(' ')

  try {
    await start()
  } catch (error) {
    await kill()
    folder.remove()
    throw error
  }
  return {
    issuer,
    login: (client, ...scopes) =>
      tokens(client, { grant_type: 'password', username: 'alice@acme.example', password: 'alice-password', scope: scope(scopes) }),
    author: async (client, ...scopes) => {
      const query = new URLSearchParams({
        client_id: client,
        redirect_uri: callback,
        response_type: 'code',
        state: 's',
        scope: scope(scopes),
      })
      const code = await codeOf(`${issuer}/auth/mock?${query}`)
      return tokens(client, { grant_type: 'authorization_code', code, redirect_uri: callback })
    },
    kill,
    start,
    stop: async () => {
      await kill()
      folder.remove()
    },
  }
}

/** Follows the login up to the client's own address, which nobody listens at. */
async function codeOf(first: string): Promise<string> {
  let url = new URL(first)
  for (let step = 0; step < 6; step++) {
    const response = await fetch(url, { redirect: 'manual' })
    await response.arrayBuffer()
    const location = response.headers.get('location')
    if (location === null) throw new Error(`dex answered ${response.status} to ${url.pathname} and sends nobody on`)
    url = new URL(location, url)
    if (`${url.origin}${url.pathname}` === callback) {
      const code = url.searchParams.get('code')
      if (code === null) throw new Error(`dex gave no code: ${url.searchParams}`)
      return code
    }
  }
  throw new Error('dex sends its user from page to page')
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok
  } catch {
    return false
  }
}
