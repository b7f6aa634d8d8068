import { hosts, payload } from './envoys.ts'

/** A policy for the edge, and for whatever looks addresses up behind it: who owns a sandbox, and where it is. */
export const policyText = (socket: string, admin: number, redis: string): string => `version: 1
listen: { check: { address: "unix:${socket}" }, admin: { address: "127.0.0.1:${admin}" } }
state: "${redis}"
identity:
  - { name: users, type: oidc, issuer: "${payload.iss}", audience: [${payload.aud}], verified_by: envoy, claims: { roles: roles } }
ownership: { endpoint: { networks: [127.0.0.0/8] } }
roles: { invoke: {} }
routes:
${Object.entries(hosts)
  .map(
    ([id, host]) =>
      `  - { id: ${id}, host: ${host}, path: "/v1/sandboxes/{id}/run", roles: [invoke], owner: { resource: sandbox, id: "path:id", direct: true } }`,
  )
  .join('\n')}
`
