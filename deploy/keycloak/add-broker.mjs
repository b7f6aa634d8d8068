/**
 * Lets people of a cloud log in to a realm: fills in one of the files in brokers/ and imports it.
 *
 *   GOOGLE_CLIENT_ID=… GOOGLE_CLIENT_SECRET_FILE=… node deploy/keycloak/add-broker.mjs --url https://keycloak.example --realm agentcube google
 *
 * What stands as ${NAME} in the file comes from the environment, from NAME or from the file that NAME_FILE names. Administrators'
 * credentials come from there, too (admin.mjs). Run again, it replaces the provider and its mappers; links of people stay.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { connect, filled, KeycloakError, script, variable } from './admin.mjs'

await script(async () => {
  const { values, positionals } = parseArgs({
    options: { url: { type: 'string' }, realm: { type: 'string' } },
    allowPositionals: true,
  })
  const { url, realm } = values
  const [broker, ...more] = positionals
  if (!url || !realm || !broker || more.length > 0)
    throw new KeycloakError('usage: add-broker.mjs --url KEYCLOAK --realm NAME BROKER (a file in brokers/, or a path)')
  const file = broker.endsWith('.json') ? broker : new URL(`brokers/${broker}.json`, import.meta.url)
  let text
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new KeycloakError(`there is no brokers/${broker}.json`)
  }
  const { identityProviders, identityProviderMappers } = filled(JSON.parse(text), (name) => variable(process.env, name))
  const admin = await connect(url, process.env)
  for (const provider of identityProviders) {
    const path = `/${realm}/identity-provider/instances`
    const there = (await admin('GET', `${path}/${provider.alias}`, undefined, [404])).status !== 404
    if (there) await admin('PUT', `${path}/${provider.alias}`, provider)
    else await admin('POST', path, provider)
    const mappers = `${path}/${provider.alias}/mappers`
    // An import would add a mapper twice, and none would go.
    for (const { id } of (await admin('GET', mappers)).body) await admin('DELETE', `${mappers}/${id}`)
    for (const mapper of identityProviderMappers) if (mapper.identityProviderAlias === provider.alias) await admin('POST', mappers, mapper)
    process.stdout.write(`${there ? 'replaced' : 'made'} ${provider.alias} in ${realm}\n`)
  }
})
