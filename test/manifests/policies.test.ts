import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { testCertificates } from '../support/certificates.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { derivedFiles, derivedPath, derivedText } from './envoy-files.ts'
import { chartFolder, containers, type Manifest, manifests, missing, pods, renderers, renderings } from './rendered.ts'
import { envoyConfig, mounted, posternPod } from './written.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const envoy = process.env['POSTERN_TEST_ENVOY'] ?? 'envoy'
/** Faults that are the place's, not the policy's: the files of Secrets and of SPIRE are not here. */
const ofThePlace = /there is no such file|there is no file|cannot be read/

describe('the policies and Envoy configurations in the manifests', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  before(function () {
    if (missing(...renderers)) this.skip()
    folder = temporaryFolder('manifests')
  })
  after(() => folder?.remove())

  const all = renderings().filter(({ name }) => /overlays|chart/.test(name))

  for (const { name, text } of all)
    it(`${name}: a policy is one that postern lint takes, with Envoy's configuration beside it`, () => {
      const objects = manifests(text())
      const { container, policy } = posternPod(objects)
      const { folder: place } = mounted(folder.file(name.replaceAll(/\W/g, '-')), policy)
      const edge = envoyConfig(objects)
      const envoyArgs = edge === undefined ? [] : ['--envoy', folder.file('envoy.yaml')]
      if (edge !== undefined) writeFileSync(folder.file('envoy.yaml'), edge)
      const env = {
        PATH: process.env['PATH'],
        ...Object.fromEntries((container['env'] ?? []).map((one: { name: string; value: string }) => [one.name, one.value])),
      }
      const args = [main, 'lint', '--config', `${place}/postern.yaml`, ...envoyArgs]
      const said = execFileSync(process.execPath, args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] })
      const warnings = said.split('\n').filter((line) => line.includes('warning') && !ofThePlace.test(line))
      assert.deepEqual(warnings, [])
    })

  for (const { name, text } of all)
    it(`${name}: Envoy takes its configuration`, () => {
      const objects = manifests(text())
      const config = envoyConfig(objects)
      // The operator's own, by the values: then nothing is made, and theirs is mounted.
      if (config === undefined) return assert.deepEqual(mountedEnvoy(objects), [ownEnvoy(name)])
      assert.equal(ownEnvoy(name), undefined)
      const certs = folder.file('certs')
      mkdirSync(certs, { recursive: true })
      const made = testCertificates(certs)
      const own = made.server('tls')
      const local = config
        .replaceAll('/etc/envoy/certs/tls.crt', own.cert)
        .replaceAll('/etc/envoy/certs/tls.key', own.key)
        .replaceAll(/\/etc\/envoy\/certs\/ca\.crt|\/etc\/envoy\/authorities\/keycloak\.crt/g, made.ca)
      writeFileSync(folder.file('valid.yaml'), local)
      const said = execFileSync(envoy, ['--mode', 'validate', '-c', folder.file('valid.yaml'), '-l', 'error'], { encoding: 'utf8' })
      assert.match(said, /OK/)
    })

  it('each mounted folder that a policy or Envoy names is mounted', () => {
    for (const { name, text } of all) {
      const objects = manifests(text())
      for (const pod of objects.flatMap(pods))
        for (const container of containers(pod)) {
          if (container.name !== 'postern' && container.name !== 'envoy') continue
          if (container.name === 'envoy' && envoyConfig(objects) === undefined) continue
          const mounts = container['volumeMounts'].map(({ mountPath }: { mountPath: string }) => mountPath) as string[]
          const said = container.name === 'envoy' ? (envoyConfig(objects) ?? '') : Object.values(posternPod(objects).policy).join('\n')
          const env = (container['env'] ?? []) as { name: string; value: string }[]
          const overridden = (path: string): boolean =>
            path.startsWith('/etc/postern/tls') && env.some(({ name }) => name.includes('_TLS_'))
          for (const [path] of said.matchAll(/\/(?:etc|run)\/[A-Za-z0-9/._-]+/g))
            assert.ok(overridden(path) || mounts.some((mount) => path.startsWith(mount)), `${name}: ${container.name} names ${path}`)
        }
    }
  })

  for (const file of derivedFiles)
    it(`${file.path} is envoy/${file.from} but for its names`, () => {
      assert.equal(readFileSync(derivedPath(file), 'utf8'), derivedText(file), 'run: node test/manifests/envoy-files.ts')
    })

  it('the policy for a Redis Cluster differs in state alone', () => {
    const policy = (path: string): string =>
      readFileSync(fileURLToPath(new URL(`../../deploy/kubernetes/overlays/${path}/postern.yaml`, import.meta.url)), 'utf8')
    const less = (text: string): string => text.replace(/^#.*\n/, '').replace(/^state:\n(?: .*\n)*/m, '')
    assert.equal(less(policy('components/redis-cluster')), less(policy('shared')))
    assert.notEqual(policy('components/redis-cluster'), policy('shared'))
    const routes = (text: string): string => text.slice(text.indexOf('\nidentity:'))
    assert.equal(routes(policy('sidecar')), routes(policy('shared')))
  })
})

/** The ConfigMaps that the routers of a rendering mount for Envoy. */
const mountedEnvoy = (objects: readonly Manifest[]): string[] =>
  objects.flatMap(pods).flatMap((pod) => {
    const volumes = (pod['spec'].volumes ?? []) as { name: string; configMap?: { name: string } }[]
    return volumes.flatMap(({ name, configMap }) => (name === 'envoy' && configMap ? [configMap.name] : []))
  })

/** What the values file of a rendering calls the ConfigMap with a configuration of the operator's own. */
function ownEnvoy(rendering: string): string | undefined {
  const file = /with (\S+)$/.exec(rendering)?.[1]
  if (file === undefined) return undefined
  const values = parse(readFileSync(join(chartFolder, 'examples', file), 'utf8')) as { router?: { envoyConfigMap?: string } }
  return values.router?.envoyConfigMap
}
