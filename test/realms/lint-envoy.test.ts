import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Finding } from '../../src/config/envoy/finding.ts'
import { cli } from '../cli/captured.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

const shipped = readFileSync(fileURLToPath(new URL('../../envoy/tenants.yaml', import.meta.url)), 'utf8')

const tenant = (realm: string): string => `version: 1
realm: ${realm}
roles: { user: {} }
identity:
  - name: users
    type: oidc
    issuer: "https://keycloak.example/realms/{realm}"
    audience: [agentcube-router]
    verified_by: envoy
    metadata_key: users-${realm}
    forward: true
  - { name: workloads, type: mtls, trust_domain: cluster.local, roles: {} }
routes: [{ id: any, methods: [GET], path: "/v1/sandboxes/{id}/**", roles: [user] }]
`

describe('postern lint --envoy, where several realms are served', () => {
  let folder: TemporaryFolder
  before(() => {
    folder = temporaryFolder()
    mkdirSync(folder.file('tenants'))
    for (const realm of ['acme', 'globex']) writeFileSync(folder.file(`tenants/${realm}.yaml`), tenant(realm))
    const main = 'version: 1\nrealms: [tenants/*.yaml]\nlisten: { check: { address: "unix:/run/postern/check.sock" } }\n'
    writeFileSync(folder.file('postern.yaml'), main)
  })
  after(() => folder.remove())

  const findings = async (text: string, ...argv: string[]) => {
    writeFileSync(folder.file('envoy.yaml'), text)
    const { code, out } = await cli(['lint', '--json', '-c', folder.file('postern.yaml'), '--envoy', folder.file('envoy.yaml'), ...argv])
    const printed = JSON.parse(out) as { envoy: { findings: readonly Finding[] } }
    const realms = printed.envoy.findings.filter((finding) => finding.code === 'route-realm')
    return { code, all: printed.envoy.findings, realms }
  }

  it('finds nothing unsafe in the file that is shipped', async () => {
    for (const argv of [[], ['--realm', 'acme'], ['--realm', 'globex']]) {
      const { code, all } = await findings(shipped, ...argv)
      assert.deepEqual([code, all.filter(({ severity }) => severity !== 'note')], [0, []], argv.join(' '))
    }
  })

  it('demands a realm for every route that reaches an upstream', async () => {
    const unnamed = shipped.replace('check_settings: { context_extensions: { realm: globex } }', 'check_settings: {}')
    const { code, realms } = await findings(unnamed)
    assert.equal(code, 1)
    assert.equal(realms.length, 3, JSON.stringify(realms))
    assert.ok(realms.every(({ severity, virtual_host }) => severity === 'error' && virtual_host === 'globex'))
  })

  it('demands one that is served', async () => {
    const { code, realms } = await findings(shipped.replace('realm: globex', 'realm: initech'), '--realm', 'acme')
    assert.equal(code, 1)
    assert.match(JSON.stringify(realms), /names the realm \\"initech\\", and served are acme, globex/)
  })
})
