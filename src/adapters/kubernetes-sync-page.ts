import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What is shown. */
export interface SyncPages {
  readonly metrics: () => Promise<string>
  readonly contentType: string
  /** Why this process is not ready; undefined: it is. */
  readonly notReady: () => string | undefined
}

/** `/metrics`, `/livez` and `/readyz` of a mirror: no names, no labels, no credentials. */
export interface SyncPage {
  /** host:port */
  readonly address: string
  readonly close: () => Promise<void>
}

/** @param host an IP address @throws where the address cannot be had */
export function openSyncPage(host: string, port: number, pages: SyncPages): Promise<SyncPage> {
  const answer = (response: ServerResponse, status: number, text: string, type = 'text/plain; charset=utf-8'): void => {
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    response.end(text)
  }
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000, maxHeaderSize: 16 * 1024 }, (request, response) => {
    const path = request.url?.split('?')[0]
    if (request.method !== 'GET') return answer(response, 405, 'GET only\n')
    switch (path) {
      case '/livez':
        return answer(response, 200, 'ok\n')
      case '/readyz': {
        const why = pages.notReady()
        return answer(response, why === undefined ? 200 : 503, `${why ?? 'ok'}\n`)
      }
      case '/metrics':
        pages.metrics().then(
          (text) => answer(response, 200, text, pages.contentType),
          () => answer(response, 500, 'the metrics cannot be read\n'),
        )
        return
      default:
        return answer(response, 404, 'there are /metrics, /livez and /readyz\n')
    }
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      const { address, port: taken, family } = server.address() as AddressInfo
      resolve({
        address: `${family === 'IPv6' ? `[${address}]` : address}:${taken}`,
        close: () =>
          new Promise((done) => {
            server.close(() => done())
            server.closeAllConnections()
          }),
      })
    })
  })
}
