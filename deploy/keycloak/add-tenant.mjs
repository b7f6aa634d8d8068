/**
 * Adds a tenant: a realm of its own in Keycloak, made from agentcube-realm.json, and its policy file for Postern.
 *
 *   node deploy/keycloak/add-tenant.mjs --url https://keycloak.example --realm acme --secrets /etc/postern/secrets --policies /etc/postern/tenants
 *
 * Administrators' credentials come from the environment (admin.mjs). Run again, it changes nothing that is as it should be: secrets that
 * are there are kept and set in Keycloak, the rule that exchanges only narrow is put back, and a policy file that is there is left alone.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { connect, filled, KeycloakError, script } from './admin.mjs'

const realmFile = new URL('agentcube-realm.json', import.meta.url)
const templateFile = new URL('tenant.postern.yaml', import.meta.url)
/** The places of the realm file, and whose secrets they are. */
const secretOf = { AGENTCUBE_SDK_SECRET: 'agentcube-sdk', AGENTCUBE_ROUTER_SECRET: 'agentcube-router' }

/** @typedef {{ url: string, issuer: string, realm: string, secrets: string, policies: string }} Options */

/** @returns {Options} @throws {KeycloakError} with what was expected */
function options() {
  const texts = /** @type {const} */ ({ type: 'string' })
  let values
  try {
    values = parseArgs({ options: { url: texts, issuer: texts, realm: texts, secrets: texts, policies: texts } }).values
  } catch (error) {
    throw new KeycloakError(/** @type {Error} */ (error).message)
  }
  const { url, realm, secrets, policies, issuer = url } = values
  if (!url || !realm || !secrets || !policies || !issuer)
    throw new KeycloakError(
      'usage: add-tenant.mjs --url KEYCLOAK --realm NAME --secrets FOLDER --policies FOLDER [--issuer KEYCLOAK_AS_CLIENTS_SEE_IT]',
    )
  if (!/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(realm) || realm === 'master')
    throw new KeycloakError(`--realm ${realm}: a name of small letters, digits and dashes is expected, other than master`)
  return { url, issuer: issuer.replace(/\/+$/, ''), realm, secrets: resolve(secrets), policies: resolve(policies) }
}

/**
 * @param {string} folder @param {string} name
 * @returns {string} the secret in that file, which is made (0600, 256 random bits) where it is not there
 */
function keptSecret(folder, name) {
  const file = join(folder, name)
  if (existsSync(file)) {
    if ((statSync(file).mode & 0o077) !== 0) throw new KeycloakError(`${file} can be read by others: make it 0600`)
    const secret = readFileSync(file, 'utf8').trim()
    if (secret.length < 32) throw new KeycloakError(`${file} holds no secret of at least 32 characters`)
    return secret
  }
  const secret = randomBytes(32).toString('base64url')
  writeFileSync(file, `${secret}\n`, { mode: 0o600, flag: 'wx' })
  process.stdout.write(`wrote ${file}\n`)
  return secret
}

/** @param {import('./admin.mjs').Admin} admin @param {any} wanted the realm as it should be @param {Record<string, string>} secrets by client */
async function bringUpToDate(admin, wanted, secrets) {
  const realm = `/${wanted.realm}`
  for (const [client, secret] of Object.entries(secrets)) {
    const [found] = (await admin('GET', `${realm}/clients?clientId=${client}`)).body
    if (!found) throw new KeycloakError(`the realm ${wanted.realm} is there and has no client ${client}: it was not made by this script`)
    if (found.secret === secret) continue
    await admin('PUT', `${realm}/clients/${found.id}`, { ...found, secret })
    process.stdout.write(`set the secret of ${client} in Keycloak\n`)
  }
  // Whoever switched the rule off in the console gets it back.
  await admin('PUT', `${realm}/client-policies/profiles`, wanted.clientProfiles)
  await admin('PUT', `${realm}/client-policies/policies`, wanted.clientPolicies)
}

await script(async () => {
  const { url, issuer, realm, secrets: folder, policies } = options()
  const admin = await connect(url, process.env)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  mkdirSync(policies, { recursive: true })
  const secrets = Object.fromEntries(Object.values(secretOf).map((client) => [client, keptSecret(folder, `${realm}-${client}`)]))
  const values = Object.fromEntries(Object.entries(secretOf).map(([name, client]) => [name, secrets[client]]))
  const document = filled(JSON.parse(readFileSync(realmFile, 'utf8')), (name) => values[name])
  const wanted = { ...document, realm, displayName: realm }

  if ((await admin('GET', `/${realm}`, undefined, [404])).status === 404) {
    await admin('POST', '', wanted)
    process.stdout.write(`made the realm ${realm}\n`)
  } else {
    await bringUpToDate(admin, wanted, secrets)
    process.stdout.write(`the realm ${realm} is there\n`)
  }

  const policy = join(policies, `${realm}.yaml`)
  if (existsSync(policy)) {
    process.stdout.write(`left ${policy} as it is\n`)
    return
  }
  /** @type {Record<string, string>} */
  const places = { realm, keycloak: issuer, secrets: folder }
  const text = readFileSync(templateFile, 'utf8').replace(/@([a-z]+)@/g, (_, name) => places[name] ?? '')
  writeFileSync(policy, text, { flag: 'wx' })
  process.stdout.write(`wrote ${policy}\n`)
})
