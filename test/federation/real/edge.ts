import { readFileSync } from 'node:fs'
import { type Edge, startEdge } from '../../support/edge.ts'
import { type ClientResponse, request } from '../../support/request.ts'
import { type Swapped, swap } from '../swap.ts'

/** Envoy, and a Postern whose token endpoint swaps the tokens of some federation rules. */
export interface SwappingEdge {
  readonly edge: Edge
  readonly swap: (token: string) => Promise<Swapped>
  /** A route that demands the role `runner`, through Envoy. */
  readonly ask: (token: string) => Promise<ClientResponse>
}

/** @param rules of `issuer.federation` */
export async function startSwappingEdge(rules: readonly unknown[]): Promise<SwappingEdge> {
  const policy = {
    version: 1,
    listen: { check: { address: '@check@' }, admin: { address: '@admin@' }, issuer: { address: '@issuer@' } },
    state: 'memory:',
    identity: [{ name: 'ours', type: 'postern', audience: 'postern', may_assert: ['runner'] }],
    roles: { runner: {} },
    routes: [{ id: 'sandboxes', path: '/v1/sandboxes', methods: ['GET'], roles: ['runner'] }],
    issuer: { federation: rules },
  }
  const edge = await startEdge('envoy.yaml', JSON.stringify(policy))
  const { listen } = JSON.parse(readFileSync(edge.postern.config, 'utf8')) as { listen: { issuer: { address: string } } }
  return {
    edge,
    swap: (token) => swap(`http://${listen.issuer.address}`, token),
    ask: (token) => request({ port: edge.port, tls: edge.tls(), path: '/v1/sandboxes', headers: { authorization: `Bearer ${token}` } }),
  }
}
