import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { IssuerKeys } from './keys.ts'

/** Opaque tokens, with what their issuer says of each (RFC 7662). */
export type Answers = Readonly<Record<string, object | string>>

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
 * @param answers of its introspection endpoint, by token: claims, or a text that is answered as it is; absent: it knows no opaque tokens
 */
export async function serveIssuer(own: IssuerKeys, strangers: IssuerKeys, port = 0, answers?: Answers): Promise<ServedIssuer> {
  const asked = new Map<string, number>()
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.set(path, (asked.get(path) ?? 0) + 1)
    if (path === '/introspect' && answers) return void introspect(request, response, answers)
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

async function introspect(request: IncomingMessage, response: ServerResponse, answers: Answers): Promise<void> {
  let form = ''
  for await (const chunk of request) form += String(chunk)
  const answer = answers[new URLSearchParams(form).get('token') ?? ''] ?? { active: false }
  if (answer === 'fails') return void response.writeHead(500).end()
  response.writeHead(200, { 'content-type': 'application/json' }).end(typeof answer === 'string' ? answer : JSON.stringify(answer))
}
