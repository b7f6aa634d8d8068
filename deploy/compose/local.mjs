/** The images of docker-compose.yml from programs of this machine: what each overlay needs, and what cannot be built. */
import { ensureBaseTars, loadBaseImages } from '../local/base-image.mjs'
import { step } from '../local/cache.mjs'
import { SetupError, which } from '../local/command.mjs'
import { ensureEnvoy } from '../local/envoy.mjs'
import { buildKeycloak, buildPostern, buildPrograms, localImages, programHere } from '../local/images.mjs'
import { ensureKeycloak } from '../local/keycloak.mjs'
import { ensurePrometheus } from '../local/prometheus.mjs'
import { ensureRedis } from '../local/redis.mjs'
import { ensureSpiffeHelper } from '../local/spiffe-helper.mjs'
import { ensureSpire } from '../local/spire.mjs'

/**
 * @param {import('../local/docker.mjs').Docker} docker
 * @param {readonly string[]} overlays
 * @param {{ context?: string }} [options] of Postern's image
 * @returns {Promise<{ images: Record<string, string>, without: string[] }>} for openStack: Grafana is nothing that can be built here
 * @throws {SetupError} where a program is missing
 */
export async function buildLocal(docker, overlays, options = {}) {
  const tars = await ensureBaseTars()
  if ('reason' in tars) throw new SetupError(tars.reason)
  await loadBaseImages(docker, tars)
  const there = (await docker.run(['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n')
  const missing = (/** @type {keyof typeof localImages} */ name) => !there.includes(localImages[name])
  step('building images')
  await buildPostern(docker, options)
  await buildPostern(docker, { ...options, tag: localImages.UPSTREAMS_IMAGE, target: 'upstreams' })
  if (missing('ENVOY_IMAGE')) await buildPrograms(docker, localImages.ENVOY_IMAGE, { '/usr/local/bin/envoy': await ensureEnvoy() })
  if (missing('REDIS_IMAGE')) {
    const server = await ensureRedis()
    const client = programHere('redis-cli', 'the image of Redis holds it for its health check')
    const programs = { '/usr/local/bin/redis-server': server, '/usr/local/bin/redis-cli': client }
    await buildPrograms(docker, localImages.REDIS_IMAGE, programs, { owned: { path: '/data', user: '999:999' } })
  }
  if (missing('KEYCLOAK_IMAGE')) {
    const keycloak = await ensureKeycloak()
    if ('reason' in keycloak) throw new SetupError(keycloak.reason)
    await buildKeycloak(docker, { ...keycloak, java: which('java') ?? keycloak.java })
  }
  if (overlays.includes('observability') && missing('PROMETHEUS_IMAGE')) {
    const found = await ensurePrometheus()
    if ('reason' in found) throw new SetupError(found.reason)
    const programs = { '/bin/prometheus': found.prometheus, '/bin/promtool': found.promtool }
    await buildPrograms(docker, localImages.PROMETHEUS_IMAGE, programs, { owned: { path: '/prometheus', user: '65534:65534' } })
  }
  if (overlays.includes('spire') && missing('SPIRE_SERVER_IMAGE')) {
    const spire = await ensureSpire()
    if ('reason' in spire) throw new SetupError(spire.reason)
    await buildPrograms(docker, localImages.SPIRE_SERVER_IMAGE, { '/opt/spire/bin/spire-server': spire.server })
    await buildPrograms(docker, localImages.SPIRE_AGENT_IMAGE, { '/opt/spire/bin/spire-agent': spire.agent })
    const helper = await ensureSpiffeHelper()
    if ('reason' in helper) throw new SetupError(helper.reason)
    await buildPrograms(docker, localImages.SPIFFE_HELPER_IMAGE, { '/spiffe-helper': helper.path })
  }
  return { images: localImages, without: overlays.includes('observability') ? ['grafana'] : [] }
}
