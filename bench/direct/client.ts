import { connect, type Socket } from 'node:net'

/** One connection to the edge, kept open: the client is an old one, the sandbox is new. */
export interface Client {
  /**
   * Sends a request and waits for its whole answer.
   * @returns microseconds until its first byte
   * @throws where the answer is not 200
   */
  readonly ask: (host: string, path: string) => Promise<number>
  readonly close: () => void
}

const limitMs = 5_000

export async function openClient(port: number): Promise<Client> {
  const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await new Promise<void>((done, fail) => socket.once('connect', done).once('error', fail))
  const ask = (host: string, path: string): Promise<number> =>
    new Promise((done, fail) => {
      let text = ''
      let first = 0
      const end = (): void => {
        socket.off('data', take).off('error', fail)
        clearTimeout(timer)
      }
      const timer = setTimeout(() => {
        end()
        fail(new Error(`no whole answer from ${host}${path} within ${limitMs} ms`))
      }, limitMs)
      const take = (bytes: Buffer): void => {
        if (first === 0) first = performance.now()
        text += bytes.toString('latin1')
        const head = text.indexOf('\r\n\r\n')
        if (head < 0) return
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
        if (text.length < head + 4 + length) return
        end()
        if (text.startsWith('HTTP/1.1 200 ')) done((first - begun) * 1000)
        else fail(new Error(`${host}${path} answered ${text.slice(0, 200)}`))
      }
      socket.on('data', take).on('error', fail)
      const begun = performance.now()
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    })
  return { ask, close: () => socket.destroy() }
}
