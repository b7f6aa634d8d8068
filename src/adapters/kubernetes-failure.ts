/** What a call to a Kubernetes API server can fail with. */
export type KubernetesFault =
  /** It answered, but not with 2xx: see `status` and `reason`. */
  | 'status'
  /** It cannot be reached, or broke off. */
  | 'network'
  /** Nothing was heard for too long. */
  | 'timeout'
  /** It said more than is read. */
  | 'too_large'
  /** What it said is not what the API says. */
  | 'malformed'

/** What of an answer is told with a failure. */
export interface FailureDetail {
  /** HTTP status, or `code` of a `Status` object. */
  readonly status?: number
  /** `reason` of a `Status` object: `Expired`, `Forbidden`, `Conflict`. */
  readonly reason?: string
  /** Milliseconds after which the server wants to be asked again (`Retry-After`). */
  readonly retryAfterMs?: number
  readonly cause?: unknown
}

/** A call to a Kubernetes API server that brought nothing; its message holds no credential. */
export class KubernetesFailure extends Error {
  override readonly name = 'KubernetesFailure'
  readonly fault: KubernetesFault
  readonly status: number | undefined
  readonly reason: string | undefined
  readonly retryAfterMs: number | undefined

  constructor(fault: KubernetesFault, message: string, { cause, ...detail }: FailureDetail = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.fault = fault
    this.status = detail.status
    this.reason = detail.reason
    this.retryAfterMs = detail.retryAfterMs
  }
}

/** Whether what was asked for from a resourceVersion or a continue token on is not kept any more: a new list is needed. */
export const isGone = (cause: unknown): boolean => cause instanceof KubernetesFailure && cause.status === 410

/** Whether an object changed, or came to be, since it was read. */
export const isConflict = (cause: unknown): boolean => cause instanceof KubernetesFailure && cause.status === 409

/** What was asked of the API server, in the words of RBAC. */
export interface Asked {
  readonly verb: 'list' | 'watch' | 'get' | 'create' | 'update'
  /** `sandboxes.agents.x-k8s.io` */
  readonly resource: string
  /** undefined: all namespaces. */
  readonly namespace: string | undefined
  readonly name?: string
}

/** A failure that says which right is missing, where that is what it is; any other as it was. */
export function explained(cause: unknown, { verb, resource, namespace, name }: Asked): unknown {
  if (!(cause instanceof KubernetesFailure)) return cause
  const what = `${verb} ${resource}${name === undefined ? '' : ` "${name}"`} in ${namespace === undefined ? 'all namespaces' : `namespace ${namespace}`}`
  const sentence =
    cause.status === 403
      ? `the right to ${what} is missing`
      : cause.status === 401
        ? 'the API server does not admit the token or certificate that it was shown'
        : cause.status === 404 && verb !== 'get' && verb !== 'update'
          ? `there is nothing to ${what}: is its CustomResourceDefinition installed, and the namespace there?`
          : undefined
  if (sentence === undefined) return cause
  return new KubernetesFailure(cause.fault, `${sentence} (${cause.message})`, {
    ...(cause.status !== undefined && { status: cause.status }),
    ...(cause.reason !== undefined && { reason: cause.reason }),
    ...(cause.retryAfterMs !== undefined && { retryAfterMs: cause.retryAfterMs }),
    cause,
  })
}
