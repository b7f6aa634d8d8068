import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Certificates, Identity } from '../support/certificates.ts'

/** What an upstream answers with, as JSON. */
export interface Answered {
  readonly upstream: string
  /** The names in the certificate of who asks. */
  readonly caller: string
  readonly headers: Readonly<Record<string, string>>
}

/** An upstream as a gateway of Istio reaches it: by mTLS, with `istio` for a protocol where the proxy is not Istio's own build. */
export async function startUpstream(
  name: string,
  own: Identity,
  { caPem }: Certificates,
): Promise<{ readonly port: number; readonly stop: () => Promise<void> }> {
  const options = { cert: own.certPem, key: own.keyPem, ca: caPem, requestCert: true, ALPNProtocols: ['istio', 'http/1.1'] }
  const server = createServer(options, (request, response) => {
    const caller = (request.socket as TLSSocket).getPeerX509Certificate()?.subjectAltName ?? ''
    request.resume()
    request.on('end', () =>
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ upstream: name, caller, headers: request.headers })),
    )
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
