import { payload } from '../direct/envoys.ts'
import { hosts } from './envoy.ts'

/** Name of the variable that holds the admin secret. */
export const secretVariable = 'POSTERN_BENCH_SECRET'

/** Who owns a sandbox, where it is, and a downstream token that names it. */
export const policyText = (socket: string, admin: number, issuer: number): string => `version: 1
listen: { check: { address: "unix:${socket}" }, admin: { address: "127.0.0.1:${admin}" }, issuer: { address: "127.0.0.1:${issuer}" } }
state: "memory:"
admin: { secret: "\${env:${secretVariable}}" }
identity:
  - { name: users, type: oidc, issuer: "${payload.iss}", audience: [${payload.aud}], verified_by: envoy, claims: { roles: roles } }
ownership: { endpoint: { networks: [127.0.0.0/8] } }
roles: { invoke: {} }
routes:
${Object.entries(hosts)
  .map(
    ([id, host]) =>
      `  - { id: ${id}, host: ${host}, path: "/v1/sandboxes/{id}/run", roles: [invoke], owner: { resource: sandbox, id: "path:id", direct: true }, downstream: { audience: picod } }`,
  )
  .join('\n')}
`
