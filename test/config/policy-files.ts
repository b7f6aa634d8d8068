import assert from 'node:assert/strict'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { faultText } from '../../src/config/faults.ts'
import { type Loaded, type ReadOptions, readPolicy } from '../../src/config/read.ts'

/** The least that a policy file has. */
export const minimal = `version: 1
listen: { check: { address: unix:/run/postern/check.sock } }
identity:
  - { name: users, type: oidc, issuer: http://127.0.0.1:8080/realms/agents, audience: [router] }
routes:
  - { id: health, path: /healthz, public: true }
`

/** With roles, an issuer and an owner route. */
export const usual = `version: 1
listen:
  check: { address: unix:/run/postern/check.sock }
  issuer: { address: 127.0.0.1:9193 }
state: "memory:"
identity:
  - { name: users, type: oidc, issuer: "https://keycloak.example/realms/{realm}", audience: ["router-{realm}"], verified_by: envoy, may_assert: [invoke] }
  - { name: router, type: mtls, trust_domain: cluster.local, roles: { "spiffe://cluster.local/ns/a/sa/router": [invoke] } }
roles:
  invoke: {}
  manage: { inherits: [invoke] }
  admin: { inherits: [manage] }
routes:
  - { id: health, path: /healthz, public: true }
  - id: invoke
    methods: [GET, POST]
    host: "*.Agents.example"
    path: /v1/sandboxes/{id}/**
    roles: [invoke]
    workload: ["spiffe://edge.local/gateway"]
    owner: { resource: sandbox, id: "path:id", bypass_roles: [manage], id_pattern: "[a-z]{1,8}" }
    downstream: { audience: picod, ttl: 30s }
    claims: [Groups]
`

/** A folder with these files; the path of postern.yaml in it. */
export async function policyFiles(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-'))
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content, { mode: 0o600 })
  return join(folder, 'postern.yaml')
}

/** Reads a policy that is expected to have no faults. */
export async function load(file: string, options: Partial<ReadOptions> = {}): Promise<Loaded> {
  const result = await readPolicy({ file, env: {}, ...options })
  assert.ok(result.ok, result.ok ? '' : result.faults.map(faultText).join('\n'))
  return result.loaded
}

/** Reads a policy that is expected to have faults: their paths and messages. */
export async function faults(file: string, options: Partial<ReadOptions> = {}): Promise<string[]> {
  const result = await readPolicy({ file, env: {}, ...options })
  assert.ok(!result.ok, 'the file was accepted')
  return result.faults.map((fault) => `${fault.path}: ${fault.message}`)
}
