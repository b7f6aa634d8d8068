/** What became of one request. */
export interface Outcome {
  /**
   * `allow`: it reached the upstream, or would have. `deny`: the server said no. `error`: the server gave no answer, or one that
   * Envoy could not use. `refused`: Envoy refused it without asking.
   */
  readonly kind: 'allow' | 'deny' | 'error' | 'refused'
  /** Of the answer to the client; 0 where the connection ended without one. */
  readonly status: number
  /** Postern's word for a denial. */
  readonly reason?: string
  /** What the upstream received. */
  readonly received?: Received
  /** For a message about it. */
  readonly detail: string
}

/** A request as an upstream saw it; names in lower case, as often as they came. */
export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
}

/** One answer of Envoy's, taken apart. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Envoy's words for "the server said no" and "the server could not be asked" (`%RESPONSE_CODE_DETAILS%`). */
const denied = 'ext_authz_denied'
const failed = 'ext_authz_error'

/** Reads from an answer who gave it. */
export function outcomeOf({ status, headers, body }: Answer): Outcome {
  if (headers['x-upstream'] !== undefined) {
    // The answers to a WebSocket handshake and to HEAD have no body to tell of it.
    if (body === '') return { kind: 'allow', status, detail: `the upstream answered ${status}` }
    const seen = JSON.parse(body) as { method: string; path: string; rawHeaders: [string, string][]; body: string }
    const received = { ...seen, headers: seen.rawHeaders.map(([name, value]) => [name.toLowerCase(), value] as const) }
    return { kind: 'allow', status, received, detail: `the upstream got ${seen.method} ${seen.path}` }
  }
  const details = headers['x-refused-by'] ?? ''
  const kind = details === denied ? 'deny' : details.startsWith(failed) ? 'error' : 'refused'
  const reason = kind === 'deny' ? reasonOf(body) : undefined
  return { kind, status, detail: `${status} ${details} ${body.slice(0, 200)}`, ...(reason !== undefined && { reason }) }
}

/** The worst of several: one request may hold two. */
export function worst(outcomes: readonly Outcome[]): Outcome {
  const order = ['allow', 'error', 'deny', 'refused'] as const
  const sorted = outcomes.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))
  return sorted[0] ?? { kind: 'refused', status: 0, detail: 'the connection ended without an answer' }
}

function reasonOf(body: string): string | undefined {
  try {
    const { reason } = JSON.parse(body) as { reason?: unknown }
    return typeof reason === 'string' ? reason : undefined
  } catch {
    return undefined
  }
}
