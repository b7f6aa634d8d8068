import { refusalOf } from './guard.ts'
import type { Adapter } from './node.ts'
import { answerTo } from './refusal.ts'
import { peerSpiffeId } from './spiffe.ts'
import type { Caller } from './verifier.ts'

/**
 * A handler of the Fetch standard's kind. Several `Authorization` headers arrive there joined by a comma, and are refused as such.
 * @param adapter with a guard of the `mtls` mode the server has to hand over the connection, as `{ socket }` in the second argument
 */
export function fetchHandler(
  { guard, demand, onRefusal }: Adapter<Request>,
  handler: (request: Request, caller: Caller) => Response | Promise<Response>,
): (request: Request, connection?: { readonly socket?: unknown }) => Promise<Response> {
  return async (request, connection) => {
    let caller: Caller
    try {
      const value = request.headers.get('authorization')
      const presented = { authorization: value === null ? [] : [value], peer: peerSpiffeId(connection?.socket) }
      caller = await guard.check(presented, typeof demand === 'function' ? demand(request) : demand)
    } catch (cause) {
      const refusal = refusalOf(cause)
      onRefusal?.(refusal, request)
      const { headers, body } = answerTo(refusal, guard.realm)
      return new Response(body, { status: refusal.status, headers })
    }
    return handler(request, caller)
  }
}
