import { claimOf, type TakenBy } from '../core/capture-claim.ts'
import { type JsonText, readJsonText } from '../core/capture-json.ts'
import { firstSaid, isId, type ResponseHeaders, type Said } from '../core/capture-place.ts'
import { type Labels, ownerLabels } from '../core/ownership.ts'
import { Unavailable } from '../core/ports.ts'
import type { RequestStep, ResponseFollower, ResponseStep } from '../core/processing.ts'
import { endpointOf } from '../core/resource-endpoint.ts'
import { type CaptureTold, captureTold, type Making, type OrphanReason } from './capture-events.ts'
import { owesIntent, owesOrphan } from './capture-orphans.ts'
import { changeLabels } from './label-change.ts'
import { type ProcessingReason, processingAnswer } from './processor-answers.ts'
import { bodyTooLarge, isEncoded } from './processor-body.ts'
import { type CaptureOutcome, type ProcessorNeeds, secondsNow } from './processor-needs.ts'

/** Seconds after which an intent that nobody followed to its end is an orphan: longer than an upstream may take to answer. */
export const intentLife = 600

/**
 * Begins a capture: what is about to be asked of the upstream is durable before it is asked, so that nothing is made of which
 * nobody knows. `owner_unavailable` where state does not take it.
 */
export async function beginCapture(needs: ProcessorNeeds, making: Making): Promise<RequestStep> {
  const { checked, caller, capture, asked } = making
  const { subject, tenant } = caller.facts
  const at = secondsNow(needs)
  const value = {
    subject,
    owner: caller.owner,
    resource: capture.resource,
    route: checked.route,
    at,
    ...(tenant === undefined ? {} : { tenant }),
  }
  const refuse = (detail: string): RequestStep => {
    needs.count.captured('unavailable')
    needs.log.warn({ decision_id: checked.decisionId, detail }, 'a create is refused: its intent cannot be written')
    return { kind: 'answer', answer: processingAnswer('owner_unavailable', asked) }
  }
  try {
    const written = await needs.records.write('capture', { id: checked.decisionId, value, until: at + intentLife }, undefined)
    // One decision lets one create go on. The intent that is there is another stream's, and stays.
    if (written === undefined) return refuse('an intent of this decision is there already')
  } catch (cause) {
    if (!(cause instanceof Unavailable)) throw cause
    // It may have been written all the same.
    needs.retries.add('intent', checked.decisionId, async () => void (await needs.records.remove('capture', checked.decisionId)))
    return refuse(cause.message)
  }
  needs.following.add(checked.decisionId)
  const places = capture.endpoint ? [...capture.ids, capture.endpoint] : capture.ids
  const body = places.some(({ from }) => from === 'body')
  return { kind: 'follow', remove: ['accept-encoding'], body, response: followCapture(needs, making, captureTold(needs, making)) }
}

/** What the response says, as far as it has come. */
interface Read {
  readonly id: Said
  readonly endpoint: Said
}

function followCapture(needs: ProcessorNeeds, making: Making, told: CaptureTold): ResponseFollower {
  const { checked, caller, capture, asked, policy } = making
  const { decisionId } = checked
  const { log } = needs
  let headers: ResponseHeaders = new Map()
  let awaited: Read | undefined
  let over = false
  let ended = false

  const answer = (reason: ProcessingReason): ResponseStep => ({ kind: 'answer', answer: processingAnswer(reason, asked) })
  const end = (outcome: CaptureOutcome): void => {
    ended = true
    needs.following.delete(decisionId)
    needs.count.captured(outcome)
  }
  const read = (body: JsonText | 'none' | undefined): Read => ({
    id: firstSaid(capture.ids, headers, body),
    endpoint: capture.endpoint ? firstSaid([capture.endpoint], headers, body) : { kind: 'silent' },
  })

  /** The upstream has made something of which the id cannot be known. */
  const orphan = async (reason: OrphanReason, detail: string): Promise<ResponseStep> => {
    over = true
    end('orphan')
    needs.log.error({ decision_id: decisionId, route: checked.route, reason, detail }, 'what the upstream made has no owner')
    await owesIntent(needs, decisionId, told.orphan(undefined, reason, detail))
    return answer('unusable_response')
  }

  const endpointIn = ({ endpoint }: Read): [name: string, value: string][] => {
    const rules = policy.ownership.endpoint
    if (!capture.endpoint || !rules) return []
    const said = endpoint.kind === 'said' ? new Map([[rules.label, endpoint.text]]) : undefined
    const found = endpointOf(policy.ownership, said)
    if ('address' in found) return [[rules.label, found.address]]
    log.warn({ decision_id: decisionId, route: checked.route, detail: found.fault }, 'a resource is captured without its endpoint')
    return []
  }

  const settle = async (found: Read): Promise<ResponseStep> => {
    over = true
    const { id } = found
    if (id.kind === 'unclear') return orphan('id_unclear', id.why)
    if (id.kind !== 'said') return orphan('id_missing', 'the response names no resource at any of the places')
    if (!isId(capture.idPattern, id.text)) return orphan('id_illegal', 'the id of the response does not match the pattern')
    const rules = { ownerLabel: policy.ownerLabel, tenantLabel: policy.ownership.tenant?.label }
    const { subject, tenant } = caller.facts
    const fresh = new Map([...ownerLabels(policy.ownerLabel, subject), ...endpointIn(found)])
    if (rules.tenantLabel !== undefined && tenant !== undefined) fresh.set(rules.tenantLabel, tenant)
    const decide = (seen: Labels | undefined): Labels | TakenBy | 'own' => {
      const claim = claimOf(seen, fresh, rules)
      return claim.kind === 'write' ? claim.labels : claim.kind === 'own' ? 'own' : claim.by
    }
    try {
      const outcome = await changeLabels(needs.labels, capture.resource, id.text, decide, 'unknown')
      if (outcome === 'own') {
        end('retried')
        void owesIntent(needs, decisionId)
        return { kind: 'pass' }
      }
      const written = typeof outcome !== 'string'
      const durable = await owesIntent(needs, decisionId, written ? told.captured(id.text) : told.takeover(id.text, outcome))
      if (written) {
        end('captured')
        return durable ? { kind: 'pass' } : answer('owner_unavailable')
      }
      end('takeover')
      needs.log.warn({ decision_id: decisionId, route: checked.route, resource: `${capture.resource}:${id.text}` }, 'takeover refused')
      return answer(durable ? 'takeover' : 'owner_unavailable')
    } catch (cause) {
      end('unavailable')
      const detail = cause instanceof Unavailable ? cause.message : String(cause)
      needs.log.error(
        { decision_id: decisionId, route: checked.route, resource: `${capture.resource}:${id.text}`, detail },
        'the owner of a new resource cannot be written: it is denied to all',
      )
      owesOrphan(needs, { id: id.text, resource: capture.resource, decisionId, fresh, rules, told })
      return answer('owner_unavailable')
    }
  }

  const lost = (why: string): void => {
    if (ended) return
    if (!over && awaited && awaited.id.kind !== 'unread') {
      // What is known of it already is not lost, unless that fails too.
      settle(awaited).catch(() => lost(why))
      return
    }
    over = true
    end('lost')
    needs.log.error({ decision_id: decisionId, route: checked.route, detail: why }, 'nobody knows what the upstream made')
    void owesIntent(needs, decisionId, told.orphan(undefined, 'response_lost', why))
  }

  return {
    headers: (status, seen, bodiless) => {
      headers = seen
      if (!capture.codes.has(status)) {
        over = true
        end('not_made')
        void owesIntent(needs, decisionId)
        return { kind: 'pass' }
      }
      const found = read(bodiless ? 'none' : undefined)
      if (found.id.kind !== 'unread' && found.endpoint.kind !== 'unread') return settle(found)
      const wanted = found.id.kind === 'unread'
      if (isEncoded(seen)) return wanted ? orphan('body_encoded', 'the body has a content-encoding') : settle(found)
      if (bodyTooLarge(seen, capture.maxBody)) return wanted ? orphan('body_too_large', 'the body is larger than max_body') : settle(found)
      awaited = found
      return { kind: 'body' }
    },
    body: (bytes) => {
      const wanted = awaited?.id.kind === 'unread'
      const found = awaited
      awaited = undefined
      if (bytes.length > capture.maxBody && wanted) return orphan('body_too_large', 'the body is larger than max_body')
      const json = bytes.length > capture.maxBody ? undefined : readJsonText(bytes)
      if (json !== undefined) return settle(read(json))
      return found && !wanted ? settle(found) : orphan('body_unreadable', 'the body is no JSON')
    },
    lost,
  }
}
