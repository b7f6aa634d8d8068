import { type Caller, seesAll } from '../core/access.ts'
import { elementsAt, idAt, type JsonSpan, type JsonText, readJsonText, spanAt } from '../core/capture-json.ts'
import { isId } from '../core/capture-place.ts'
import type { Policy } from '../core/policy.ts'
import { Unavailable } from '../core/ports.ts'
import type { RequestStep, ResponseFollower, ResponseStep } from '../core/processing.ts'
import type { ListDemand, ListFilter } from '../core/route.ts'
import { labelsOfAll } from './filter-lookups.ts'
import { type Asked, processingAnswer } from './processor-answers.ts'
import { bodyTooLarge, isEncoded } from './processor-body.ts'
import type { ProcessorNeeds } from './processor-needs.ts'
import { isPermitted } from './processor-permits.ts'

/** A list that is reduced to what its caller may read. */
export interface Filtering {
  readonly caller: Caller
  readonly list: ListDemand
  readonly filter: ListFilter
  readonly policy: Policy
  readonly asked: Asked
}

/**
 * Headers of the request that would bring something else than the whole list as it is, for one: an answer of 304 says that a
 * list of the past, of whatever the caller could read then, is good.
 */
const notSentOn = ['accept-encoding', 'range', 'if-range', 'if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since']

/** Headers of the response that speak of the whole list. */
const ofTheWhole = [
  'etag',
  'last-modified',
  'content-digest',
  'repr-digest',
  'digest',
  'content-md5',
  'accept-ranges',
  'content-range',
  'expires',
  'cdn-cache-control',
  'surrogate-control',
]

/** Begins a list: its response is reduced, but for those who may see everything. */
export function beginList(needs: ProcessorNeeds, filtering: Filtering): RequestStep {
  const { caller, list, policy } = filtering
  if (seesAll(policy.ownership, caller, list)) return { kind: 'skip' }
  return { kind: 'follow', remove: notSentOn, body: true, response: followList(needs, filtering) }
}

function followList(needs: ProcessorNeeds, { caller, list, filter, policy, asked }: Filtering): ResponseFollower {
  const { log, count } = needs
  const unusable = (detail: string): ResponseStep => {
    count.filtered('unusable')
    log.warn({ decision_id: asked.decisionId, detail }, 'a list cannot be reduced to what its caller may read')
    return { kind: 'answer', answer: processingAnswer('unusable_response', asked) }
  }

  const reduce = async (body: Buffer): Promise<ResponseStep> => {
    const read = readItems(filter, body)
    if (typeof read === 'string') return unusable(read)
    const { json, array, items, ids } = read
    const { source, resource, bypass } = list
    const need = { source, removes: false }
    const kept: string[] = []
    try {
      const labels = await labelsOfAll(needs.owners, source, resource, ids)
      for (const [i, { from, to }] of items.entries()) {
        if (isPermitted(policy, caller, bypass, labels.get(ids[i]!), need, false)) kept.push(json.text.slice(from, to))
      }
    } catch (cause) {
      if (!(cause instanceof Unavailable)) throw cause
      count.filtered('unavailable')
      log.warn({ decision_id: asked.decisionId, detail: cause.message }, 'the owners in a list cannot be looked up')
      return { kind: 'answer', answer: processingAnswer('owner_unavailable', asked) }
    }
    count.filtered('filtered')
    count.items(kept.length, items.length - kept.length)
    const { text } = json
    const written = kept.length === items.length ? text : `${text.slice(0, array.from)}[${kept.join(',')}]${text.slice(array.to)}`
    const reduced = Buffer.from(written)
    return {
      kind: 'replace',
      body: reduced,
      set: [
        ['content-length', String(reduced.length)],
        // What one may read is nobody else's to keep.
        ['cache-control', 'private, no-store'],
      ],
      remove: ofTheWhole,
    }
  }

  return {
    headers: (status, headers, ended) => {
      // Of what is no success, or has no body, nothing is anybody's.
      // A protocol that is switched to (101) could bring any list.
      if (status > 299 || status === 204) return { kind: 'pass' }
      if (status !== 200) return unusable(`the upstream answered ${status}, expected 200`)
      if (ended) return asked.method === 'HEAD' ? { kind: 'pass' } : unusable('the upstream answered without a body')
      if (isEncoded(headers)) return unusable('the body has a content-encoding')
      if (bodyTooLarge(headers, filter.maxBody)) return unusable('the body is larger than max_body')
      return { kind: 'body' }
    },
    body: reduce,
    lost: () => {},
  }
}

interface Items {
  readonly json: JsonText
  readonly array: JsonSpan
  readonly items: readonly JsonSpan[]
  /** Of each item. */
  readonly ids: readonly string[]
}

/** @returns why a list cannot be read, instead */
function readItems(filter: ListFilter, body: Buffer): Items | string {
  if (body.length > filter.maxBody) return 'the body is larger than max_body'
  const json = readJsonText(body)
  if (!json) return 'the body is no JSON in UTF-8'
  const array = spanAt(json, filter.items)
  if (array === undefined || array === 'twice') return array ? 'filter.items stands there twice' : 'filter.items is not there'
  const items = elementsAt(json, array, filter.maxItems)
  if (items === 'no array') return 'filter.items is no array'
  if (items === 'too many') return 'there are more than max_items items'
  const ids: string[] = []
  for (const item of items) {
    const span = spanAt(json, filter.id, item)
    if (span === undefined || span === 'twice') return span ? 'the id of an item stands there twice' : 'an item has no id'
    const id = idAt(json, span)
    if (id === undefined || !isId(filter.idPattern, id)) return 'the id of an item is not legal'
    ids.push(id)
  }
  return { json, array, items, ids }
}
