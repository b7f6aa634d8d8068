import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { IssuerKeys } from './keys.ts'

/** An issuer whose keys the server under test fetches itself. */
export interface ServedIssuer {
  readonly issuer: string
  readonly jwksUri: string
  /** How often each path was asked for. */
  readonly asked: ReadonlyMap<string, number>
  readonly stop: () => Promise<void>
}

/**
 * Serves discovery and keys on 127.0.0.1; under `/evil`, keys that nobody should ask for.
 * @param port 0 for a free one
 */
export async function serveIssuer(own: IssuerKeys, strangers: IssuerKeys, port = 0): Promise<ServedIssuer> {
  const asked = new Map<string, number>()
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.set(path, (asked.get(path) ?? 0) + 1)
    const body = documents[path]
    if (body === undefined) return void response.writeHead(404).end()
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const documents: Record<string, unknown> = {
    '/jwks': own.jwks,
    '/evil': strangers.jwks,
    '/.well-known/openid-configuration': {
      issuer,
      jwks_uri: `${issuer}/jwks`,
      token_endpoint: `${issuer}/token`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256', 'ES256', 'EdDSA'],
    },
  }
  return {
    issuer,
    jwksUri: `${issuer}/jwks`,
    asked,
    stop: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
