/** People in the stack's Keycloak, for trying out: made by its admin API, and logged in as a browser would be. */
import { createHash, randomBytes } from 'node:crypto'
import { ask } from './ask.mjs'

/** @typedef {{ url: string, ca?: string | undefined }} Keycloak the address it is published at; tokens name another, its KC_HOSTNAME */

/** @param {Keycloak} keycloak @param {string} path @param {Record<string, string>} form */
async function token({ url, ca }, path, form) {
  const { status, body } = await ask(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(form).toString(),
    ca,
  })
  if (status !== 200) throw new Error(`Keycloak gives no token: ${status} ${body.slice(0, 200)}`)
  return String(JSON.parse(body).access_token)
}

/** A program's token. @param {Keycloak} keycloak @param {string} secret of agentcube-sdk */
export const programToken = (keycloak, secret) =>
  token(keycloak, '/realms/agentcube/protocol/openid-connect/token', {
    grant_type: 'client_credentials',
    client_id: 'agentcube-sdk',
    client_secret: secret,
  })

/**
 * @param {Keycloak} keycloak
 * @param {string} adminPassword
 * @param {{ name: string, password: string, roles: readonly string[] }} person realm roles
 */
export async function addPerson(keycloak, adminPassword, { name, password, roles }) {
  const admin = await token(keycloak, '/realms/master/protocol/openid-connect/token', {
    grant_type: 'password',
    client_id: 'admin-cli',
    username: 'admin',
    password: adminPassword,
  })
  const call = async (/** @type {string} */ method, /** @type {string} */ path, /** @type {unknown} */ body) => {
    const answer = await ask(`${keycloak.url}/admin/realms/agentcube${path}`, {
      method,
      headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ca: keycloak.ca,
    })
    if (answer.status >= 300) throw new Error(`Keycloak's ${method} ${path}: ${answer.status} ${answer.body.slice(0, 200)}`)
    return answer
  }
  const credentials = [{ type: 'password', value: password, temporary: false }]
  const profile = { email: `${name}@example.com`, emailVerified: true, firstName: name, lastName: 'Example' }
  const made = await call('POST', '/users', { username: name, enabled: true, credentials, ...profile })
  const id = String(made.headers['location']).split('/').at(-1)
  const granted = await Promise.all(roles.map(async (role) => JSON.parse((await call('GET', `/roles/${role}`, undefined)).body)))
  await call('POST', `/users/${id}/role-mappings/realm`, granted)
}

/**
 * Logs a person in by the authorization code flow with PKCE, as `agentcube-cli` does with a browser.
 * @param {Keycloak} keycloak
 * @param {{ name: string, password: string }} person
 * @returns {Promise<string>} an access token
 */
export async function login(keycloak, { name, password }) {
  const verifier = randomBytes(32).toString('base64url')
  const redirect = 'http://127.0.0.1/callback'
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: 'agentcube-cli',
    redirect_uri: redirect,
    scope: 'openid',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  })
  const page = await ask(`${keycloak.url}/realms/agentcube/protocol/openid-connect/auth?${query}`, { ca: keycloak.ca })
  const action = /action="([^"]+)"/.exec(page.body)?.[1]?.replaceAll('&amp;', '&')
  if (action === undefined) throw new Error(`Keycloak shows no login form: ${page.status}`)
  const cookies = [page.headers['set-cookie'] ?? []].flat().map((cookie) => cookie.split(';')[0])
  const { pathname, search } = new URL(action)
  const answer = await ask(`${keycloak.url}${pathname}${search}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', cookie: cookies.join('; ') },
    body: new URLSearchParams({ username: name, password }).toString(),
    ca: keycloak.ca,
  })
  const code = new URL(String(answer.headers['location'] ?? 'none:')).searchParams.get('code')
  if (code === null) throw new Error(`Keycloak lets ${name} not in: ${answer.status}`)
  return await token(keycloak, '/realms/agentcube/protocol/openid-connect/token', {
    grant_type: 'authorization_code',
    client_id: 'agentcube-cli',
    redirect_uri: redirect,
    code,
    code_verifier: verifier,
  })
}
