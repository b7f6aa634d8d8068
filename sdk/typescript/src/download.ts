import { readFile } from 'node:fs/promises'
import type { get as httpGet } from 'node:http'

const mostBytes = 1024 * 1024

/** A document could not be had; the message says why, and from where. */
export class DownloadFailed extends Error {
  override readonly name = 'DownloadFailed'
}

/**
 * Reads a small document: `https:`, `http:` or `file:`. No redirects, no proxies, at most 1 MiB.
 * @param ca PEM of the authorities that the server is trusted by instead of the system's
 * @param timeoutMs milliseconds for the whole call
 * @throws {DownloadFailed}
 */
export async function download(url: URL, ca: string | undefined, timeoutMs: number): Promise<string> {
  try {
    return url.protocol === 'file:' ? await readFile(url, 'utf8') : await fetched(url, ca, timeoutMs)
  } catch (cause) {
    if (cause instanceof DownloadFailed) throw cause
    const code = (cause as { code?: unknown } | null)?.code
    throw new DownloadFailed(`${url.href} cannot be read (${typeof code === 'string' ? code : 'no answer'})`)
  }
}

async function fetched(url: URL, ca: string | undefined, timeoutMs: number): Promise<string> {
  // TLS takes some 40 ms to load: only where it is used.
  const { get } = await import(url.protocol === 'https:' ? 'node:https' : 'node:http')
  return answerOf(get, url, ca, timeoutMs)
}

const answerOf = (get: typeof httpGet, url: URL, ca: string | undefined, timeoutMs: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs)
    const headers = { accept: 'application/jwk-set+json, application/json' }
    const options = { signal, headers, agent: false as const, ...(ca !== undefined && { ca }) }
    const asked = get(url, options, (answer) => {
      const chunks: Buffer[] = []
      let length = 0
      const fail = (message: string): void => {
        answer.destroy()
        reject(new DownloadFailed(message))
      }
      if (answer.statusCode !== 200) return fail(`${url.href} answered ${answer.statusCode}; expected 200`)
      answer.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (length > mostBytes) fail(`${url.href} is longer than ${mostBytes} bytes`)
        else chunks.push(chunk)
      })
      answer.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
      answer.on('error', reject)
    })
    asked.on('error', (cause) => {
      if (signal.aborted) reject(new DownloadFailed(`${url.href} did not answer within ${timeoutMs} ms`))
      else reject(cause)
    })
  })
