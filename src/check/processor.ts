import { type Caller, callerFrom } from '../core/access.ts'
import { type Checked, readChecked } from '../core/capture-checked.ts'
import { perObject } from '../core/per-object.ts'
import type { Policy } from '../core/policy.ts'
import type { Soon } from '../core/ports.ts'
import type { ProcessedRequest, Processor, RequestStep } from '../core/processing.ts'
import { isProcessed, type Route } from '../core/route.ts'
import { beginCapture } from './capture.ts'
import { beginList } from './filter.ts'
import { type Asked, type ProcessingReason, processingAnswer } from './processor-answers.ts'
import type { ProcessorNeeds } from './processor-needs.ts'
import { beginRemoval } from './removal.ts'

const routesOf = perObject(({ routes }: Policy): ReadonlyMap<string, Route> => new Map(routes.routes.map((route) => [route.id, route])))

/**
 * Decides about requests that Envoy's ext_proc hands on: those that make a resource, that take one away, or whose list is to
 * be reduced. Who asks and for what is what the check said of the same request; where that is not to be had, nothing passes.
 */
export function createProcessor(needs: ProcessorNeeds): Processor {
  const { log } = needs

  const request = (sent: ProcessedRequest): Soon<RequestStep> => {
    const policy = needs.policy()
    const read = readChecked(sent.metadata)
    // Denied, and let through for adoption: it is nobody's request, and writes nothing.
    if (read.kind === 'unenforced') return { kind: 'skip' }
    const checked = read.kind === 'allowed' ? read.checked : undefined
    const asked: Asked = { method: sent.method, decisionId: checked?.decisionId, decisionHeader: policy.headers.decision }
    const refuse = (reason: ProcessingReason, detail: string): RequestStep => {
      log.error({ decision_id: checked?.decisionId, reason, detail }, 'ext_proc cannot tell what a request is')
      return { kind: 'answer', answer: processingAnswer(reason, asked) }
    }
    if (read.kind === 'unusable') return refuse('metadata_unusable', read.detail)
    const { realm, route: id, named } = read.checked
    if (realm !== policy.realm) return refuse('metadata_unusable', 'the check was of another realm')
    // A policy that has changed since: the route of this name decides, where there still is one.
    const route = routesOf(policy).get(id)
    if (!route) return refuse('route_unknown', 'the policy in force has no such route')
    if (!isProcessed(route)) return { kind: 'skip' }
    // A preflight names nobody, and asks for nothing.
    if (!named && sent.method === 'OPTIONS') return { kind: 'skip' }
    const caller = callerFrom(sent.metadata ?? {}, policy.ownership)
    if (!caller) return refuse('metadata_unusable', 'the metadata of the check names no caller')
    return begin(route, { checked: read.checked, caller, policy, asked }, refuse)
  }

  const begin = (
    { capture, owner, list }: Route,
    about: { readonly checked: Checked; readonly caller: Caller; readonly policy: Policy; readonly asked: Asked },
    refuse: (reason: ProcessingReason, detail: string) => RequestStep,
  ): Soon<RequestStep> => {
    if (capture) return beginCapture(needs, { ...about, capture })
    if (owner?.removes) {
      const { resource } = about.checked
      // The route says `when_absent: allow`, and the request names none.
      if (resource === undefined) return { kind: 'skip' }
      const kind = `${owner.resource}:`
      if (!resource.startsWith(kind)) return refuse('metadata_unusable', 'the resource is of another kind than the route')
      return beginRemoval(needs, { ...about, demand: owner, id: resource.slice(kind.length) })
    }
    if (list?.filter) return beginList(needs, { ...about, list, filter: list.filter })
    return { kind: 'skip' }
  }

  /** What fails in a way that nobody thought of is answered too, and told to the log. */
  return {
    request: async (sent) => {
      try {
        return await request(sent)
      } catch (cause) {
        return failed(cause, sent)
      }
    },
  }

  function failed(cause: unknown, { method }: ProcessedRequest): RequestStep {
    log.error({ err: cause instanceof Error ? cause : String(cause) }, 'ext_proc failed on a request')
    const asked: Asked = { method, decisionId: undefined, decisionHeader: needs.policy().headers.decision }
    return { kind: 'answer', answer: processingAnswer('internal', asked) }
  }
}
