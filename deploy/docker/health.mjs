/**
 * The image's health check: asks a URL, POSTERN_HEALTH_URL or /readyz on 127.0.0.1:9192, and ends with 0 where it answers 2xx. There is no
 * shell and no curl in the image. `unix:/path/of.sock` asks for /readyz on a socket; for https, NODE_EXTRA_CA_CERTS names the authorities.
 */
import { request as http } from 'node:http'
import { request as https } from 'node:https'

const limit = 2_500
const url = process.env.POSTERN_HEALTH_URL || 'http://127.0.0.1:9192/readyz'

/** @param {string} line */
const sick = (line) => {
  process.stderr.write(`${line}\n`)
  process.exit(1)
}

setTimeout(() => sick(`no answer from ${url} within ${limit} ms`), limit)
/** @param {import('node:http').IncomingMessage} response */
const look = (response) => {
  const { statusCode: status = 0 } = response
  let body = ''
  response.setEncoding('utf8').on('data', (text) => {
    if (body.length < 500) body += text
  })
  response.on('end', () => (status >= 200 && status < 300 ? process.exit(0) : sick(`${status} ${body.slice(0, 500)}`)))
}
const asked = url.startsWith('unix:')
  ? http({ socketPath: url.slice('unix:'.length), path: '/readyz', headers: { host: 'localhost' } }, look)
  : (url.startsWith('https:') ? https : http)(url, look)
asked.on('error', ({ message }) => sick(`${url}: ${message}`)).end()
