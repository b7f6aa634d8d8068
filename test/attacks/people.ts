import type { TokenSpec } from './case.ts'

/** A person or workload that cases speak of: their good token, and what the upstream hears of them. */
export interface Someone {
  readonly token?: Partial<TokenSpec>
  /** Headers of the identity, beside the prefix; `{users}` and `{here}` stand for issuers. */
  readonly headers: Readonly<Record<string, string>>
}

const router = 'spiffe://cluster.local/ns/agents/sa/router'
const ingress = 'spiffe://cluster.local/ns/istio-system/sa/ingress'
const user = (name: string, roles: readonly string[], claims: object = {}): Someone => ({
  token: { by: 'users', claims: { sub: name, roles, ...claims } },
  headers: { subject: name, issuer: '{users}', roles: roles.join(',') },
})

/** By the names that cases use: `{{alice}}` is a token, `who: alice` what the upstream is told. */
export const people: Readonly<Record<string, Someone>> = {
  nobody: { headers: {} },
  // Verified by Envoy.
  alice: user('alice', ['invoke']),
  bob: user('bob', ['invoke']),
  root: user('root', ['admin']),
  guest: user('guest', []),
  // Verified by the server itself: other people than those above, though they are called the same.
  'here.alice': {
    token: { by: 'here', claims: { sub: 'alice' } },
    headers: { subject: 'here:alice', issuer: '{here}', roles: 'invoke' },
  },
  'here.root': {
    token: { by: 'here', claims: { sub: 'root', roles: ['admin'] } },
    headers: { subject: 'here:root', issuer: '{here}', roles: 'admin' },
  },
  // By certificate.
  router: { headers: { subject: `workload:${router}`, issuer: 'spiffe://cluster.local', roles: 'invoke', workload: router } },
  batch: {
    headers: {
      subject: 'workload:spiffe://cluster.local/ns/agents/sa/batch',
      issuer: 'spiffe://cluster.local',
      roles: '',
      workload: 'spiffe://cluster.local/ns/agents/sa/batch',
    },
  },
  // By the headers of an edge that verified the token.
  'mesh.alice': {
    headers: { subject: 'mesh:alice', issuer: 'urn:postern:edge-trust:mesh', roles: 'invoke', workload: ingress },
  },
  'alice via ingress': { token: { by: 'users' }, headers: { subject: 'alice', issuer: '{users}', roles: 'invoke', workload: ingress } },
  // Behind the listener `ways`.
  'first.alice': { headers: { subject: 'first:alice', issuer: '{first}', roles: 'invoke' } },
  carol: { headers: { subject: 'key:carol', issuer: 'urn:postern:api-keys:keys', roles: 'invoke' } },
  legacy: { headers: { subject: 'legacy:legacy', issuer: 'urn:postern:shared-token:legacy', roles: 'invoke' } },
  'legacy for alice': { headers: { subject: 'legacy:alice', issuer: 'urn:postern:shared-token:legacy', roles: 'invoke' } },
  'proxied.alice': { headers: { subject: 'proxied:alice', issuer: 'urn:postern:edge-trust:proxied', roles: 'invoke' } },
  'here.alice via router': {
    token: { by: 'here' },
    headers: { subject: 'here:alice', issuer: '{here}', roles: 'invoke', workload: router },
  },
  'alice via router': { token: { by: 'users' }, headers: { subject: 'alice', issuer: '{users}', roles: 'invoke', workload: router } },
}

/** Client certificates by name; a case may also say its own. */
export const certificates: Readonly<Record<string, readonly string[]>> = {
  router: [router],
  ingress: [ingress],
  batch: ['spiffe://cluster.local/ns/agents/sa/batch'],
}
