import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { request } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { RunningKubernetes } from '../federation/real/kubernetes.ts'

/** What a request asked for. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
}

/** Answers a request instead of the API server. @returns whether it did */
export type Instead = (asked: Asked, response: ServerResponse) => boolean

/** Stands between a sync and the API server: writes down what is asked, and answers in its place where a test wants. */
export interface RecordingProxy {
  readonly url: string
  readonly asked: Asked[]
  /** Lists of a resource, watches left out. */
  readonly lists: () => Asked[]
  readonly watches: () => Asked[]
  /** undefined: all requests go through. */
  instead: Instead | undefined
  /** Breaks the connections that are open. */
  readonly cut: () => void
  readonly stop: () => Promise<void>
}

export async function startProxy({ url, ca }: Pick<RunningKubernetes, 'url' | 'ca'>): Promise<RecordingProxy> {
  const authority = readFileSync(ca, 'utf8')
  const asked: Asked[] = []
  const forward = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const { method, headers, url: path } = incoming
    const sent = request(`${url}${path}`, { method, headers: { ...headers, host: new URL(url).host }, ca: authority }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      outgoing.flushHeaders()
      answer.pipe(outgoing)
      answer.on('error', () => outgoing.destroy())
    })
    sent.on('error', () => outgoing.destroy())
    outgoing.on('close', () => sent.destroy())
    incoming.pipe(sent)
  }
  const server = createServer((incoming, outgoing) => {
    const at = new URL(incoming.url ?? '/', 'http://proxy')
    const one = { method: incoming.method ?? 'GET', path: at.pathname, query: at.searchParams }
    asked.push(one)
    if (!proxy.instead?.(one, outgoing)) forward(incoming, outgoing)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const isObjects = ({ method, path }: Asked): boolean => method === 'GET' && /\/(?:sandboxes|pods)$/.test(path)
  const proxy: RecordingProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    lists: () => asked.filter((one) => isObjects(one) && !one.query.has('watch')),
    watches: () => asked.filter((one) => isObjects(one) && one.query.has('watch')),
    instead: undefined,
    cut: () => server.closeAllConnections(),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return proxy
}

/** An answer of the API server that is an error. */
export function answerStatus(response: ServerResponse, code: number, reason: string, message: string): true {
  response.writeHead(code, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }))
  return true
}
