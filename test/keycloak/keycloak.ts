import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { decodeJwt, type JWTPayload } from 'jose'
import { freePort } from '../support/free-port.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

/** What deploy/local/keycloak.mjs gives; it is plain JavaScript, so the types are told here. */
interface KeycloakPrograms {
  readonly makeKeycloakHome: (prepared: string, folder: string, realms: readonly string[]) => void
  readonly keycloakCommand: (home: string, port: number) => [command: string, args: string[]]
}

const programs = new URL('../../deploy/local/keycloak.mjs', import.meta.url).href
const realm = 'agentcube'
const realmFile = new URL('../../deploy/keycloak/agentcube-realm.json', import.meta.url)
const peopleFile = new URL('people.json', import.meta.url)
const startLimit = 150_000
const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'

/** A person of people.json. */
export type Person = 'alice' | 'bob' | 'carol' | 'dave' | 'erin'

export interface AccessToken {
  readonly token: string
  /** Decoded, not verified. */
  readonly claims: JWTPayload
}

export interface RunningKeycloak {
  readonly port: number
  /** Without a slash at its end. */
  readonly url: string
  /** The `iss` of the realm's tokens. */
  readonly issuer: string
  /** The token of a fresh login: a person's by password, the program's by client_credentials. */
  readonly login: (who: Person | 'agentcube-sdk') => Promise<AccessToken>
  /** Standard token exchange by agentcube-router, as Postern does it. @throws with Keycloak's answer when it refuses */
  readonly exchange: (subjectToken: string, audience: string) => Promise<AccessToken>
  /** Sets the lifetime of exchanged tokens, in seconds (the realm file says 60). */
  readonly setExchangedLife: (seconds: number) => Promise<void>
  /** It stays connected and answers nothing (SIGSTOP) … */
  readonly hang: () => void
  /** … until it goes on (SIGCONT). */
  readonly resume: () => void
  /** SIGKILL. */
  readonly kill: () => Promise<void>
  /** Starts again on the same port with the same data, after `kill`. */
  readonly start: () => Promise<void>
  /** Ends it, and removes its folder. */
  readonly stop: () => Promise<void>
}

/**
 * Starts a Keycloak of its own with the realm that is deployed and the people of people.json, and waits until the realm answers (some 20 s).
 * Needs POSTERN_TEST_KEYCLOAK (a prepared Keycloak) and POSTERN_TEST_JAVA, as `npm test` sets them.
 */
export async function startKeycloak(): Promise<RunningKeycloak> {
  const prepared = process.env['POSTERN_TEST_KEYCLOAK']
  if (prepared === undefined) throw new Error('POSTERN_TEST_KEYCLOAK is not set: run these tests with `npm test -- keycloak`')
  const { makeKeycloakHome, keycloakCommand } = (await import(programs)) as KeycloakPrograms
  const folder = temporaryFolder()
  writeFileSync(folder.file('realm.json'), realmWithPeople())
  makeKeycloakHome(prepared, folder.path, [folder.file('realm.json')])
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const issuer = `${url}/realms/${realm}`
  let child: ChildProcess | undefined
  let output = ''

  // kc.sh starts Java as its child, so the whole group is told.
  const signal = (name: NodeJS.Signals) => {
    try {
      if (child?.pid !== undefined) process.kill(-child.pid, name)
    } catch {
      // The group is gone.
    }
  }
  const killNow = () => signal('SIGKILL')

  const kill = async () => {
    const dying = child
    if (dying === undefined) return
    const closed = new Promise((done) => dying.once('close', done))
    const over = dying.exitCode !== null || dying.signalCode !== null
    killNow()
    if (!over) await closed
    child = undefined
    process.removeListener('exit', killNow)
  }

  const start = async () => {
    const [command, args] = keycloakCommand(folder.path, port)
    const java = process.env['POSTERN_TEST_JAVA']
    const started = spawn(command, args, {
      cwd: folder.path,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...secretsOfRealm, ...(java === undefined ? {} : { JAVA: java }) },
    })
    child = started
    process.once('exit', killNow)
    started.once('error', (error) => {
      output += error.message
    })
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-4_000)
      })
    }
    await until(
      `Keycloak on port ${port}`,
      async () => {
        if (started.pid === undefined || started.exitCode !== null) throw new Error(`Keycloak ended instead of serving:\n${output}`)
        return answers(`${issuer}/.well-known/openid-configuration`)
      },
      startLimit,
    )
  }

  const login = (who: Person | 'agentcube-sdk') =>
    who === 'agentcube-sdk'
      ? askForToken(issuer, { grant_type: 'client_credentials' }, basic(who))
      : askForToken(issuer, { grant_type: 'password', client_id: 'agentcube-console', username: who, password: `${who}-password` })

  const exchange = (subjectToken: string, audience: string) => {
    const types = { subject_token_type: accessTokenType, requested_token_type: accessTokenType }
    return askForToken(issuer, { grant_type: tokenExchange, subject_token: subjectToken, ...types, audience }, basic('agentcube-router'))
  }

  try {
    await start()
    // The first exchange loads classes for a second and more, which is no one's subject here.
    await exchange((await login('agentcube-sdk')).token, 'picod')
  } catch (error) {
    await kill()
    folder.remove()
    throw error
  }
  return {
    port,
    url,
    issuer,
    login,
    exchange,
    setExchangedLife: (seconds) => setExchangedLife(url, seconds),
    hang: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    kill,
    start,
    stop: async () => {
      await kill()
      folder.remove()
    },
  }
}

/** The secrets of the realm's clients in tests follow one pattern. */
export const secretOf = (client: string): string => `${client}-secret-of-tests`

/** What the placeholders of the realm file stand for. */
const secretsOfRealm = { AGENTCUBE_SDK_SECRET: secretOf('agentcube-sdk'), AGENTCUBE_ROUTER_SECRET: secretOf('agentcube-router') }

interface Realm {
  readonly clients: readonly object[]
  readonly users: readonly object[]
}

/** The deployed realm has no people, and no client that logs in by password. */
function realmWithPeople(): string {
  const read = (file: URL) => JSON.parse(readFileSync(file, 'utf8')) as Realm
  const [deployed, more] = [read(realmFile), read(peopleFile)]
  return JSON.stringify({ ...deployed, clients: [...deployed.clients, ...more.clients], users: [...deployed.users, ...more.users] })
}

const basic = (client: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${client}:${secretOf(client)}`).toString('base64')}`,
})

async function askForToken(issuer: string, form: Record<string, string>, headers: Record<string, string> = {}): Promise<AccessToken> {
  const response = await fetch(`${issuer}/protocol/openid-connect/token`, { method: 'POST', headers, body: new URLSearchParams(form) })
  const body = (await response.json()) as { access_token?: string }
  if (body.access_token === undefined) throw new Error(`Keycloak answered ${response.status}: ${JSON.stringify(body)}`)
  return { token: body.access_token, claims: decodeJwt(body.access_token) }
}

/** By the administrator of a start-dev Keycloak, as deploy/local/keycloak.mjs made it. */
async function setExchangedLife(url: string, seconds: number): Promise<void> {
  const admin = { grant_type: 'password', client_id: 'admin-cli', username: 'admin', password: 'admin' }
  const { token } = await askForToken(`${url}/realms/master`, admin)
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const clients = `${url}/admin/realms/${realm}/clients`
  const [client] = (await (await fetch(`${clients}?clientId=agentcube-router`, { headers })).json()) as { id: string; attributes: object }[]
  if (client === undefined) throw new Error('Keycloak has no client agentcube-router')
  const changed = { ...client, attributes: { ...client.attributes, 'access.token.lifespan': String(seconds) } }
  const { status } = await fetch(`${clients}/${client.id}`, { method: 'PUT', headers, body: JSON.stringify(changed) })
  if (status !== 204) throw new Error(`Keycloak answered ${status} to the change of agentcube-router`)
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(5_000) })).ok
  } catch {
    return false
  }
}
