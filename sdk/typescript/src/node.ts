import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Guard, Presented } from './guard.ts'
import { refusalOf } from './guard.ts'
import { answerTo, type Refusal } from './refusal.ts'
import { peerSpiffeId } from './spiffe.ts'
import type { Caller, Demand } from './verifier.ts'

/** What a request has to be allowed to do; a function may look at the request. A Refusal that it throws is answered. */
export type DemandOf<R> = Demand | ((request: R) => Demand)

export interface Adapter<R> {
  readonly guard: Guard
  readonly demand: DemandOf<R>
  /** Told of each refusal, for the log. */
  readonly onRefusal?: (refusal: Refusal, request: R) => void
}

/** Reads a request of node:http: its raw headers, since Node keeps only the first of several `Authorization`. */
export function presentedBy(request: IncomingMessage): Presented {
  const authorization: string[] = []
  const raw = request.rawHeaders
  for (let at = 0; at + 1 < raw.length; at += 2) if (raw[at]!.toLowerCase() === 'authorization') authorization.push(raw[at + 1]!)
  return { authorization, peer: peerSpiffeId(request.socket) }
}

/** @throws Refusal */
export async function checkRequest<R extends IncomingMessage>({ guard, demand }: Adapter<R>, request: R): Promise<Caller> {
  return guard.check(presentedBy(request), typeof demand === 'function' ? demand(request) : demand)
}

export function writeRefusal(response: ServerResponse, refusal: Refusal, realm: string): void {
  const { headers, body } = answerTo(refusal, realm)
  if (response.headersSent) return void response.destroy()
  response.writeHead(refusal.status, headers).end(body)
}

/** A listener for `createServer` of node:http and node:https: `handler` is called for verified requests alone. */
export function nodeHandler(
  adapter: Adapter<IncomingMessage>,
  handler: (request: IncomingMessage, response: ServerResponse, caller: Caller) => void,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    checkRequest(adapter, request).then(
      (caller) => handler(request, response, caller),
      (cause) => refuse(adapter, request, response, cause),
    )
  }
}

const callers = new WeakMap<object, Caller>()

/** Who a request is made for, behind {@link expressGuard}. */
export const callerOf = (request: object): Caller | undefined => callers.get(request)

/** Middleware of the form that Express, Connect and Polka share; {@link callerOf} gives the caller to what comes after. */
export function expressGuard<R extends IncomingMessage>(
  adapter: Adapter<R>,
): (request: R, response: ServerResponse, next: (cause?: unknown) => void) => void {
  return (request, response, next) => {
    checkRequest(adapter, request).then(
      (caller) => {
        callers.set(request, caller)
        next()
      },
      (cause) => refuse(adapter, request, response, cause),
    )
  }
}

function refuse<R extends IncomingMessage>({ guard, onRefusal }: Adapter<R>, request: R, response: ServerResponse, cause: unknown): void {
  const refusal = refusalOf(cause)
  onRefusal?.(refusal, request)
  writeRefusal(response, refusal, guard.realm)
}
