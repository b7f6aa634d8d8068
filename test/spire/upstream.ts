import { X509Certificate } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createSecureContext, type TLSSocket } from 'node:tls'
import { certificateSpiffeId } from '../../src/core/spiffe.ts'
import type { Helper } from './helper.ts'

/** An upstream that accepts one SPIFFE ID alone. */
export interface SecureUpstream {
  readonly port: number
  /** Serial numbers of the certificates that its callers proved, and of those that it showed, in the order in which they came. */
  readonly callers: ReadonlySet<string>
  readonly shown: ReadonlySet<string>
  /** SPIFFE IDs that it turned away. */
  readonly refused: readonly string[]
  readonly answered: () => number
  /** From the next connection on it shows the certificate of this one. */
  readonly become: (helper: Helper) => void
  readonly stop: () => Promise<void>
}

interface Files {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

/** The files as they are; undefined while they do not belong together, since spiffe-helper writes one after the other. */
function read(helper: Helper): Files | undefined {
  try {
    const [cert, key, ca] = [helper.text('svid.pem'), helper.text('svid_key.pem'), helper.text('svid_bundle.pem')]
    // Throws where the key is not the certificate's.
    createSecureContext({ cert, key, ca })
    return ca.trimEnd().endsWith('-----END CERTIFICATE-----') ? { cert, key, ca } : undefined
  } catch {
    return undefined
  }
}

/**
 * A TLS server with the files of a spiffe-helper, which it looks at five times a second. It answers 200 with its name and the
 * caller's SPIFFE ID as JSON.
 * @param allowed the only SPIFFE ID that it answers; the connections of others end
 */
export async function startSecureUpstream(name: string, helper: Helper, allowed: string): Promise<SecureUpstream> {
  let current = helper
  let files = read(helper)
  if (files === undefined) throw new Error(`the files of ${helper.spiffeId} are not whole`)
  const callers = new Set<string>()
  const shown = new Set<string>()
  const refused: string[] = []
  let answered = 0
  const note = ({ cert }: Files): unknown => shown.add(new X509Certificate(cert).serialNumber)
  const server = createServer({ ...files, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' }, (request, response) => {
    answered += 1
    const peer = (request.socket as TLSSocket).getPeerX509Certificate()
    const said = { upstream: name, caller: certificateSpiffeId(peer?.subjectAltName)?.id, headers: request.headers }
    request.resume()
    request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said)))
  })
  note(files)
  // Whoever ends an idle connection races with the next request on it: that is Envoy's to do.
  server.keepAliveTimeout = 60_000
  server.on('secureConnection', (socket) => {
    const peer = socket.getPeerX509Certificate()
    const id = certificateSpiffeId(peer?.subjectAltName)?.id
    if (id === allowed) return void callers.add(peer?.serialNumber ?? '')
    refused.push(id ?? 'no SPIFFE ID')
    socket.destroy()
  })
  const look = (): void => {
    const next = read(current)
    if (next === undefined || (next.cert === files?.cert && next.ca === files.ca)) return
    server.setSecureContext({ ...next, minVersion: 'TLSv1.3' })
    files = next
    note(next)
  }
  const timer = setInterval(look, 200)
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    port: (server.address() as AddressInfo).port,
    callers,
    shown,
    refused,
    answered: () => answered,
    become: (other) => {
      current = other
      look()
    },
    stop: () =>
      new Promise((done) => {
        clearInterval(timer)
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
