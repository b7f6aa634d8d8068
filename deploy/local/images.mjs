/** Builds the images of docker-compose.yml from what is on this machine, for a Docker engine that reaches no registry. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { baseImages, closure, nonroot } from './base-image.mjs'
import { checkout } from './cache.mjs'
import { run, SetupError, which } from './command.mjs'

const limit = 900_000

/**
 * The variables of docker-compose.yml, and the image that stands for each here.
 * @type {Readonly<Record<'POSTERN_IMAGE' | 'UPSTREAMS_IMAGE' | 'ENVOY_IMAGE' | 'REDIS_IMAGE' | 'KEYCLOAK_IMAGE' | 'PROMETHEUS_IMAGE' | 'SPIRE_SERVER_IMAGE' | 'SPIRE_AGENT_IMAGE' | 'SPIFFE_HELPER_IMAGE', string>>}
 */
export const localImages = {
  POSTERN_IMAGE: 'postern-local/postern:1',
  UPSTREAMS_IMAGE: 'postern-local/upstreams:1',
  ENVOY_IMAGE: 'postern-local/envoy:1',
  REDIS_IMAGE: 'postern-local/redis:1',
  KEYCLOAK_IMAGE: 'postern-local/keycloak:1',
  PROMETHEUS_IMAGE: 'postern-local/prometheus:1',
  SPIRE_SERVER_IMAGE: 'postern-local/spire-server:1',
  SPIRE_AGENT_IMAGE: 'postern-local/spire-agent:1',
  SPIFFE_HELPER_IMAGE: 'postern-local/spiffe-helper:1',
}

/**
 * Builds Postern's image, or that of the sample upstreams, by deploy/docker/Dockerfile.
 * @param {import('./docker.mjs').Docker} docker
 * @param {{ tag?: string, target?: 'postern' | 'upstreams', args?: Readonly<Record<string, string>>, noCache?: boolean, context?: string }} [options]
 *   `context` is the checkout unless given
 * @returns {Promise<string>} the tag
 */
export async function buildPostern(
  docker,
  { tag = localImages.POSTERN_IMAGE, target = 'postern', args = {}, noCache = false, context = checkout } = {},
) {
  const given = { BUILD_BASE: baseImages.build, RUNTIME_BASE: baseImages.runtime, ...args }
  const flags = Object.entries(given).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`])
  // npm fetches from this machine's network: an engine that was started here gives containers none of their own.
  const line = ['build', '--network', 'host', '--target', target, '-f', join(context, 'deploy/docker/Dockerfile'), '-t', tag, ...flags]
  await docker.run([...line, ...(noCache ? ['--no-cache'] : []), context], { limit })
  return tag
}

/**
 * An image of programs of this machine, with their libraries and nothing else.
 * @param {import('./docker.mjs').Docker} docker
 * @param {string} tag
 * @param {Readonly<Record<string, string>>} programs their paths in the image, and here; the first is what the image runs
 * @param {{ owned?: { path: string, user: string } }} [options] a folder that belongs to a user
 */
export async function buildPrograms(docker, tag, programs, { owned } = {}) {
  await inScratch(async (folder) => {
    for (const [target, path] of Object.entries(programs)) closure(realpathSync(path), target, join(folder, 'root'))
    mkdirSync(join(folder, 'empty'))
    const lines = ['FROM scratch', 'COPY root /', `USER ${nonroot}:${nonroot}`, `ENTRYPOINT ["${Object.keys(programs)[0]}"]`]
    if (owned !== undefined) lines.splice(2, 0, `COPY --chown=${owned.user} empty ${owned.path}`)
    writeFileSync(join(folder, 'Dockerfile'), `${lines.join('\n')}\n`)
    await docker.run(['build', '-t', tag, folder], { limit })
  })
  return tag
}

/**
 * Keycloak with the Java that runs it here, on the base with a shell: kc.sh is a shell script.
 * @param {import('./docker.mjs').Docker} docker
 * @param {{ home: string, java: string }} keycloak from ensureKeycloak
 */
export async function buildKeycloak(docker, { home, java }) {
  const tag = localImages.KEYCLOAK_IMAGE
  await inScratch(async (folder) => {
    const jre = dirname(dirname(realpathSync(java)))
    copyWhole(jre, join(folder, 'java'))
    // Its data is left behind: there is an administrator in it already.
    mkdirSync(join(folder, 'keycloak/data/import'), { recursive: true })
    for (const name of ['bin', 'lib', 'conf', 'providers', 'themes']) copyWhole(join(home, name), join(folder, 'keycloak', name))
    writeFileSync(
      join(folder, 'Dockerfile'),
      [
        `FROM ${baseImages.build}`,
        'COPY java /opt/java',
        // Its build at the first start writes into lib.
        'COPY --chown=1000:0 keycloak /opt/keycloak',
        'ENV JAVA_HOME=/opt/java LANG=C.UTF-8',
        'USER 1000:0',
        'ENTRYPOINT ["/opt/keycloak/bin/kc.sh"]',
        '',
      ].join('\n'),
    )
    await docker.run(['build', '-t', tag, folder], { limit })
  })
  return tag
}

/** Copies a Java, its links into /etc followed; what leads nowhere (sources, certificates of a package that is absent) is left out. @param {string} from @param {string} to */
function copyWhole(from, to) {
  mkdirSync(to, { recursive: true })
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const path = join(from, entry.name)
    const found = statSync(path, { throwIfNoEntry: false })
    if (found === undefined || ['man', 'src.zip', 'demo', 'jmods', 'include'].includes(entry.name)) continue
    if (found.isDirectory()) copyWhole(path, join(to, entry.name))
    else if (entry.isSymbolicLink() && !readlinkSync(path).startsWith('/')) symlinkSync(readlinkSync(path), join(to, entry.name))
    else {
      copyFileSync(path, join(to, entry.name))
      chmodSync(join(to, entry.name), found.mode & 0o777)
    }
  }
}

/** @param {(folder: string) => Promise<void>} work */
async function inScratch(work) {
  const folder = mkdtempSync(join(tmpdir(), 'postern-image-'))
  try {
    await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A program of this machine that an image is made of. @param {string} name @param {string} advice @throws {SetupError} */
export function programHere(name, advice) {
  const path = which(name)
  if (path === undefined) throw new SetupError(`${name} is not on PATH: ${advice}`)
  return path
}

/** Takes away the images that were built here. @param {import('./docker.mjs').Docker} docker */
export async function removeLocalImages(docker) {
  const all = await run(docker.docker, ['images', '--format', '{{.Repository}}:{{.Tag}}', '--filter', 'reference=postern-local/*'], {
    env: docker.env,
  })
  const tags = all.split('\n').filter((line) => line !== '')
  if (tags.length > 0) await docker.run(['rmi', '--force', ...tags])
}
