import { bearerToken } from './bearer.ts'
import { Refusal, wrongPeer } from './refusal.ts'
import { isSpiffeId } from './spiffe.ts'
import type { Caller, Demand, Verifier } from './verifier.ts'

/** What a request brings, whatever the server is. */
export interface Presented {
  /** The values of all its `Authorization` headers. */
  readonly authorization: readonly string[]
  /** The SPIFFE ID that the peer of the connection has proved. */
  readonly peer: string | undefined
}

/** Decides who a request is made for. */
export interface Guard {
  /** Of the challenge in refusals. */
  readonly realm: string
  /** @throws {Refusal} */
  readonly check: (presented: Presented, demand: Demand) => Promise<Caller>
}

export interface GuardOptions {
  readonly verifier: Verifier
  /** Told in `WWW-Authenticate`; `upstream` unless given. Printable ASCII without quotes and backslashes. */
  readonly realm?: string
}

/**
 * The `jwt` mode: the token alone. For upstreams that only the router can reach (a network policy, loopback), and that must answer
 * soon after their start.
 */
export function jwtGuard({ verifier, realm = 'upstream' }: GuardOptions): Guard {
  checkRealm(realm)
  return {
    realm,
    check: async ({ authorization, peer }, demand) => ({ ...(await verifier.verify(bearerToken(authorization), demand)), workload: peer }),
  }
}

/**
 * The `mtls` mode: the peer must have proved one of these SPIFFE IDs, and the token is needed too: the certificate says that the router
 * asks, the token for whom.
 * @param allow SPIFFE IDs, exactly
 * @throws {TypeError} for a list that would let in nobody or anybody
 */
export function mtlsGuard({ verifier, realm = 'upstream', allow }: GuardOptions & { readonly allow: readonly string[] }): Guard {
  checkRealm(realm)
  const wrong = allow.find((id) => !isSpiffeId(id))
  if (wrong !== undefined) throw new TypeError(`allow: ${wrong} is no SPIFFE ID of a workload`)
  if (allow.length === 0) throw new TypeError('allow: expected at least one SPIFFE ID')
  const allowed = new Set(allow)
  return {
    realm,
    check: async ({ authorization, peer }, demand) => {
      if (peer === undefined || !allowed.has(peer)) throw wrongPeer(`${peer ?? 'a peer without SPIFFE ID'} may not ask here`)
      return { ...(await verifier.verify(bearerToken(authorization), demand)), workload: peer }
    },
  }
}

function checkRealm(realm: string): void {
  if (!/^[ !#-[\]-~]{1,100}$/.test(realm)) throw new TypeError('realm: expected printable ASCII without quotes and backslashes')
}

/** What is told of anything that went wrong in a check: a surprise is no more than "not now". */
export const refusalOf = (cause: unknown): Refusal =>
  cause instanceof Refusal ? cause : new Refusal(503, undefined, cause instanceof Error ? cause.message : 'the check failed')
