import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, parseAllDocuments, parseDocument } from 'yaml'
import { writeServiceCertificates } from '../../deploy/compose/certs.mjs'
import { composeFiles } from '../../deploy/compose/files.mjs'
import { openStack } from '../../deploy/compose/stack.mjs'
import { faultText } from '../../src/config/faults.ts'
import { readPolicy } from '../../src/config/read.ts'
import { checkout } from '../docs/markdown.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

const read = (name: string): string => readFileSync(join(checkout, name), 'utf8')
const overlays = readdirSync(join(checkout, 'deploy/compose')).filter((name) => name.endsWith('.yaml'))

describe('files of the compose stack', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  before(() => {
    folder = temporaryFolder('compose')
    writeServiceCertificates(folder.file('tls'))
  })
  after(() => folder.remove())

  it('are YAML', () => {
    const all = [
      'docker-compose.yml',
      'deploy/docker/postern.yaml',
      ...overlays.map((name) => `deploy/compose/${name}`),
      ...Object.keys(composeFiles()),
    ]
    for (const name of all) {
      const text = read(name)
      assert.deepEqual(
        name.includes('compose.yml') || overlays.some((one) => name.endsWith(`/compose/${one}`))
          ? parseAllDocuments(text).flatMap(({ errors }) => errors)
          : parseDocument(text, { strict: true }).errors,
        [],
        name,
      )
    }
  })

  it('are those that files.mjs makes of the annotated ones', () => {
    for (const [name, text] of Object.entries(composeFiles()))
      assert.equal(read(name), text, `${name} is stale: node deploy/compose/files.mjs`)
  })

  it('name files that are there', () => {
    const named = ['docker-compose.yml', ...overlays.map((name) => `deploy/compose/${name}`)].flatMap((name) =>
      [...read(name).matchAll(/(?<=["\s])\.\/(deploy\/[^:\s"]+)/g)].map(([, path]) => path!),
    )
    assert.ok(named.length > 10)
    assert.deepEqual(
      named.filter((path) => !existsSync(join(checkout, path))),
      [],
    )
    const copied = [...read('deploy/docker/Dockerfile').matchAll(/^COPY (?!--from)((?:\S+ )+)\S+$/gm)].flatMap(([, paths]) =>
      paths!.trim().split(' '),
    )
    assert.ok(copied.length > 5)
    assert.deepEqual(
      copied.filter((path) => !existsSync(join(checkout, path))),
      [],
    )
  })

  for (const name of Object.keys(composeFiles()).filter((path) => path.endsWith('envoy.yaml')))
    it(`${name} asks Postern as envoy/tcp-mtls.yaml and envoy/capture.yaml do`, () => {
      const [own, tcp, capture] = [name, 'envoy/tcp-mtls.yaml', 'envoy/capture.yaml'].map((path) => parse(read(path)) as Bootstrap)
      assert.deepEqual(asked(own!, 'ext_authz'), asked(tcp!, 'ext_authz'))
      assert.deepEqual(asked(own!, 'ext_proc'), asked(capture!, 'ext_proc'))
      // Over TCP as many calls may be made again as the cluster lets through.
      const retries = (of: Bootstrap, cluster: string) => {
        const found = of.static_resources.clusters.find((one) => one.name === cluster)
        return found?.type === 'STRICT_DNS' ? found.circuit_breakers?.thresholds[0]?.max_retries : 'no TCP'
      }
      const expected = /mtls|spire/.test(name) ? retries(tcp!, 'postern') : 'no TCP'
      assert.deepEqual([retries(own!, 'postern'), retries(own!, 'postern_ext_proc')], [expected, expected])
    })

  for (const name of Object.keys(composeFiles()).filter((path) => path.endsWith('envoy.yaml')))
    it(`${name} is taken by Envoy`, function () {
      const envoy = process.env['POSTERN_TEST_ENVOY']
      if (envoy === undefined) this.skip()
      const file = folder.file('envoy.yaml')
      writeFileSync(file, read(name).replaceAll('/etc/envoy/tls', folder.file('tls/envoy')))
      const { status, stderr } = spawnSync(
        envoy,
        ['--mode', 'validate', '--service-node', 'edge', '--service-cluster', 'edge', '-c', file],
        { encoding: 'utf8' },
      )
      assert.equal(status, 0, stderr)
    })

  for (const name of ['deploy/docker/postern.yaml', ...Object.keys(composeFiles()).filter((path) => path.endsWith('postern.yaml'))])
    it(`${name} has no faults`, async () => {
      const file = folder.file('postern.yaml')
      cpSync(join(checkout, name), file)
      const result = await readPolicy({ file, env: {}, secrets: 'warn' })
      assert.deepEqual(result.ok ? [] : result.faults.map(faultText), [])
    })

  it('keep secrets where nobody else reads them, and down takes them away', async () => {
    const state = folder.file('state')
    const { secrets } = openStack({ compose: '/bin/true', docker: '/bin/true', state, project: 'none' })
    assert.equal(statSync(state).mode & 0o777, 0o700)
    assert.equal(statSync(join(state, '.env')).mode & 0o777, 0o600)
    for (const name of ['envoy', 'postern', 'workloadmanager', 'picod', 'researcher'])
      assert.equal(statSync(join(state, 'tls', name, 'tls.key')).mode & 0o777, 0o600, name)
    for (const name of [
      'POSTERN_ADMIN_SECRET',
      'POSTERN_KEY_ENCRYPTION_KEY',
      'REDIS_PASSWORD',
      'KEYCLOAK_ADMIN_PASSWORD',
      'AGENTCUBE_SDK_SECRET',
    ])
      assert.match(secrets[name]!, /^[0-9a-f]{64}$/, name)
    // Redis knows its password by the hash alone, and the next start finds the same secrets.
    assert.ok(!readFileSync(join(state, 'redis/users.acl'), 'utf8').includes(secrets['REDIS_PASSWORD']!))
    const again = openStack({ compose: '/bin/true', docker: '/bin/true', state, project: 'none' })
    assert.deepEqual(again.secrets, secrets)
    await again.down()
    assert.ok(!existsSync(state))
  })

  it('give Redis no more rights than its page says', () => {
    const state = folder.file('rights')
    openStack({ compose: '/bin/true', docker: '/bin/true', state, project: 'none' })
    const words = (text: string): string[] => [...new Set(text.match(/[+~&][^\s]+/g))].sort()
    const page = /ACL SETUSER postern reset on >PASSWORD (~postern:default:\* &.*)$/m.exec(read('docs/guides/redis.md'))![1]!
    assert.deepEqual(words(readFileSync(join(state, 'redis/users.acl'), 'utf8')), words(page))
  })

  it('down says what is left', async () => {
    const docker = folder.file('docker')
    writeFileSync(docker, '#!/bin/sh\n[ "$1" = volume ] && echo forgotten\nexit 0\n', { mode: 0o755 })
    const stack = openStack({ compose: '/bin/true', docker, state: folder.file('left'), project: 'none' })
    await assert.rejects(stack.down(), /this is left of it:\nvolume forgotten/)
  })
})

interface Bootstrap {
  readonly static_resources: {
    readonly listeners: readonly { filter_chains: { filters: { typed_config: { http_filters: HttpFilter[] } }[] }[] }[]
    readonly clusters: readonly { name: string; type: string; circuit_breakers?: { thresholds: { max_retries?: number }[] } }[]
  }
}
interface HttpFilter {
  readonly name: string
  readonly typed_config: { readonly grpc_service: object; readonly failure_mode_allow: boolean; readonly status_on_error: object }
}

/** How a filter of the edge asks Postern, whatever the cluster is called. */
function asked({ static_resources }: Bootstrap, filter: string): object {
  const [edge] = static_resources.listeners
  const found = edge?.filter_chains[0]?.filters[0]?.typed_config.http_filters.find(({ name }) => name.endsWith(`.${filter}`))
  assert.ok(found, filter)
  const { grpc_service, failure_mode_allow, status_on_error } = found.typed_config
  return { grpc_service, failure_mode_allow, status_on_error }
}
