import { generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** An issuer whose tokens are made at once and by the thousand, each another one. */
export interface TokenIssuer {
  readonly issuer: string
  readonly mint: (id: number) => string
  readonly stop: () => Promise<void>
}

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Starts an OpenID Connect issuer on 127.0.0.1 that signs with ES256. */
export async function startTokenIssuer(audience: string): Promise<TokenIssuer> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'ES256', use: 'sig' }
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(request.url === '/jwks' ? { keys: [jwk] } : { issuer, jwks_uri: `${issuer}/jwks` }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const head = encoded({ alg: 'ES256', kid: 'one', typ: 'JWT' })
  const now = Math.floor(Date.now() / 1000)
  return {
    issuer,
    mint: (id) => {
      const claims = { iss: issuer, aud: audience, sub: `caller-${id}`, jti: `token-${id}`, roles: ['caller'], iat: now, exp: now + 600 }
      const signed = `${head}.${encoded(claims)}`
      return `${signed}.${sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
    },
    stop: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
