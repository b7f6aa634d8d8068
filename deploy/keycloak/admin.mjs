/** Keycloak's admin REST API, as far as the scripts beside this file need it, and the files that they fill in. */
import { readFileSync } from 'node:fs'

/** What an operator is told in one sentence, without a stack. */
export class KeycloakError extends Error {}

/**
 * @typedef {{ status: number, body: any }} Answer `body` is parsed JSON, or undefined where there is none
 * @typedef {(method: string, path: string, body?: unknown, allowed?: readonly number[]) => Promise<Answer>} Admin
 */

/**
 * Logs in to the master realm: as a client with KEYCLOAK_ADMIN_CLIENT_ID and KEYCLOAK_ADMIN_CLIENT_SECRET, else as a person with
 * KEYCLOAK_ADMIN_USER and KEYCLOAK_ADMIN_PASSWORD. Each of them may come from a file whose name is in the variable with _FILE at its end.
 * @param {string} base Keycloak's URL: https, or http on loopback
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Admin>} asks below /admin/realms; throws a KeycloakError on a status that is neither 2xx nor among `allowed`
 */
export async function connect(base, env) {
  const url = new URL(base)
  const loopback = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback))
    throw new KeycloakError(`--url must be https, or http on loopback: administrators' credentials would travel in the clear to ${base}`)
  const root = base.replace(/\/+$/, '')
  const login = credentials(env)
  let { token, until } = { token: '', until: 0 }
  const fresh = async () => {
    if (Date.now() < until) return token
    const answer = await ask(`${root}/realms/master/protocol/openid-connect/token`, { method: 'POST', body: new URLSearchParams(login) })
    if (typeof answer.body?.access_token !== 'string')
      throw new KeycloakError(`Keycloak refused the administrator (${answer.status}${answer.body?.error ? `, ${answer.body.error}` : ''})`)
    token = answer.body.access_token
    // Administrators' tokens are short-lived: a minute, unless the master realm says otherwise.
    until = Date.now() + Math.max(0, Number(answer.body.expires_in ?? 60) - 20) * 1000
    return token
  }
  await fresh()
  return async (method, path, body, allowed = []) => {
    const headers = { authorization: `Bearer ${await fresh()}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
    const answer = await ask(`${root}/admin/realms${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if ((answer.status < 200 || answer.status > 299) && !allowed.includes(answer.status)) {
      const why = answer.body?.errorMessage ?? answer.body?.error ?? ''
      throw new KeycloakError(`Keycloak answered ${answer.status} to ${method} /admin/realms${path}${why ? `: ${why}` : ''}`)
    }
    return answer
  }
}

/** @param {string} url @param {RequestInit} init @returns {Promise<Answer>} */
async function ask(url, init) {
  let response
  try {
    response = await fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(60_000) })
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error)
    throw new KeycloakError(`Keycloak cannot be reached at ${new URL(url).origin}: ${cause}`)
  }
  const text = await response.text()
  const json = (response.headers.get('content-type') ?? '').includes('json') && text !== ''
  return { status: response.status, body: json ? JSON.parse(text) : undefined }
}

/** @param {NodeJS.ProcessEnv} env @returns {Record<string, string>} the form of the token request */
function credentials(env) {
  const [id, secret] = [variable(env, 'KEYCLOAK_ADMIN_CLIENT_ID'), variable(env, 'KEYCLOAK_ADMIN_CLIENT_SECRET')]
  if (id !== undefined && secret !== undefined) return { grant_type: 'client_credentials', client_id: id, client_secret: secret }
  const [username, password] = [variable(env, 'KEYCLOAK_ADMIN_USER'), variable(env, 'KEYCLOAK_ADMIN_PASSWORD')]
  if (username !== undefined && password !== undefined) return { grant_type: 'password', client_id: 'admin-cli', username, password }
  throw new KeycloakError(
    'no administrator: set KEYCLOAK_ADMIN_CLIENT_ID and KEYCLOAK_ADMIN_CLIENT_SECRET, or KEYCLOAK_ADMIN_USER and KEYCLOAK_ADMIN_PASSWORD (or the same with _FILE)',
  )
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} name
 * @returns {string | undefined} its value, or what the file named by NAME_FILE holds, without the line break at its end
 */
export function variable(env, name) {
  const file = env[`${name}_FILE`]
  if (file === undefined) return env[name] || undefined
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '') || undefined
  } catch (error) {
    throw new KeycloakError(`${name}_FILE=${file} cannot be read: ${/** @type {Error} */ (error).message}`)
  }
}

/**
 * Fills in the ${NAME} places of a JSON document, in its strings alone, so that no value can change its shape.
 * @param {any} document
 * @param {(name: string) => string | undefined} lookUp
 * @returns {any}
 */
export function filled(document, lookUp) {
  if (typeof document === 'string')
    return document.replace(/\$\{([A-Z][A-Z0-9_]*)\}/g, (_, name) => {
      const value = lookUp(name)
      if (value === undefined) throw new KeycloakError(`${name} is not set (nor ${name}_FILE)`)
      return value
    })
  if (Array.isArray(document)) return document.map((one) => filled(one, lookUp))
  if (document === null || typeof document !== 'object') return document
  return Object.fromEntries(Object.entries(document).map(([key, value]) => [key, filled(value, lookUp)]))
}

/**
 * Runs a script's main function; a KeycloakError becomes its sentence and exit code 1.
 * @param {() => Promise<void>} main
 */
export async function script(main) {
  try {
    await main()
  } catch (error) {
    if (!(error instanceof KeycloakError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exitCode = 1
  }
}
