/**
 * Starts the stack of docker-compose.yml, waits until it is healthy, and says what to try.
 *
 *   node deploy/compose/up.mjs                    Envoy, Postern, Redis, Keycloak, the sample upstreams
 *   node deploy/compose/up.mjs --with mtls        with an overlay: tls, mtls, spire, observability; may be repeated
 *   node deploy/compose/up.mjs --local            images of this machine's own programs, where no registry can be reached
 *
 * Ports: EDGE_PORT, KEYCLOAK_PORT, PROMETHEUS_PORT, GRAFANA_PORT. Exit code 0, 1 where it did not come up, 2 for wrong arguments.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { step } from '../local/cache.mjs'
import { SetupError } from '../local/command.mjs'
import { ensureCompose } from '../local/compose.mjs'
import { answersHere, ensureDocker, openDocker } from '../local/docker.mjs'
import { buildLocal } from './local.mjs'
import { openStack, overlays, readEnv, usualState } from './stack.mjs'

/** @typedef {import('./stack.mjs').Overlay} Overlay */

const portNames = /** @type {const} */ (['edge', 'keycloak', 'prometheus', 'grafana'])

async function main() {
  const { values } = parseArgs({
    options: { with: { type: 'string', multiple: true }, local: { type: 'boolean' }, help: { type: 'boolean' } },
  })
  const chosen = /** @type {Overlay[]} */ (values.with ?? [])
  const unknown = chosen.find((name) => !(name in overlays))
  if (values.help || unknown !== undefined) {
    process.stderr.write(
      `${unknown === undefined ? '' : `--with ${unknown}: expected ${Object.keys(overlays).join(', ')}\n`}usage: node deploy/compose/up.mjs [--with OVERLAY]... [--local]\n`,
    )
    return values.help ? 0 : 2
  }
  const file = join(usualState, '.env')
  const before = existsSync(file) ? readEnv(file)['COMPOSE_WITH'] : undefined
  if (before !== undefined && before !== chosen.join(','))
    throw new SetupError(`the stack is up with the overlays "${before}": take it down first, by node deploy/compose/down.mjs`)
  const got = await ensureDocker()
  if ('reason' in got) throw new SetupError(got.reason)
  if (!answersHere(got.docker))
    throw new SetupError('no Docker engine answers: start one. (node deploy/compose/try.mjs starts one of its own for its run.)')
  const engine = await openDocker(got.docker)
  const composed = await ensureCompose()
  if ('reason' in composed) throw new SetupError(composed.reason)
  const local = values.local ? await buildLocal(engine, chosen) : undefined
  const ports = Object.fromEntries(
    portNames.flatMap((name) =>
      process.env[`${name.toUpperCase()}_PORT`] ? [[name, Number(process.env[`${name.toUpperCase()}_PORT`])]] : [],
    ),
  )
  const stack = openStack({ compose: composed.path, docker: got.docker, env: engine.env, with: chosen, ports, show: true, ...local })
  step('starting the stack')
  await stack.up()
  const ca = stack.ca === undefined ? '' : ' --cacert deploy/compose/generated/tls/envoy/ca.crt'
  process.stdout.write(`
All parts are healthy. Secrets are in deploy/compose/generated/.env.

  . deploy/compose/generated/.env
  TOKEN=$(curl -s${ca} ${stack.urls.keycloak}/realms/agentcube/protocol/openid-connect/token \\
    -d grant_type=client_credentials -d client_id=agentcube-sdk -d client_secret=$AGENTCUBE_SDK_SECRET | jq -r .access_token)
  curl -i${ca} ${stack.urls.edge}/v1/sandboxes -H "authorization: Bearer $TOKEN" -X POST -d '{"id":"s1"}'
  curl -i${ca} ${stack.urls.edge}/v1/sandboxes/s1/hello -H "authorization: Bearer $TOKEN"

${chosen.includes('observability') ? `Prometheus: ${stack.urls.prometheus}, Grafana: http://localhost:${stack.secrets['GRAFANA_PORT'] ?? 3000} (admin, GRAFANA_ADMIN_PASSWORD)\n` : ''}Take it down: node deploy/compose/down.mjs
`)
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`up: ${error.message}\n`)
  process.exitCode = 1
}
