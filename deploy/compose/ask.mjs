import { request as http } from 'node:http'
import { request as https } from 'node:https'

/**
 * One request with an authority of one's own; redirects are not followed.
 * @param {string} url
 * @param {{ method?: string, headers?: Record<string, string>, body?: string, ca?: string | undefined, cert?: string, key?: string }} [options] PEM
 * @returns {Promise<{ status: number, headers: import('node:http').IncomingHttpHeaders, body: string }>}
 */
export function ask(url, { method = 'GET', headers = {}, body, ca, cert, key } = {}) {
  const tls = { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) }
  return new Promise((done, fail) => {
    const call = (url.startsWith('https:') ? https : http)(url, { method, headers, agent: false, timeout: 20_000, ...tls }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part) => (text += part))
      response.on('end', () => done({ status: response.statusCode ?? 0, headers: response.headers, body: text })).on('error', fail)
    })
    call.on('timeout', () => call.destroy(new Error(`no answer from ${url} within 20 s`))).on('error', fail)
    call.end(body)
  })
}
