import { Facts, normalized, routed } from '../../src/core/facts.ts'
import { type IdAnswer, resourceId } from '../../src/core/resource-id.ts'
import { anEntry, aPolicy, aRequest } from '../support/facts.ts'

/** The id that `query:sandbox` finds in a query. */
export const idOf = (text: string): IdAnswer => {
  const state = new Facts(aRequest(), aPolicy([]), 0, 'id')
  const target = { method: 'GET', host: '', path: '/', segments: [], query: text, encodedSlash: false, escaped: undefined }
  const demand = {
    resource: 'sandbox',
    id: { from: 'query' as const, name: 'sandbox' },
    idPattern: /^[a-z0-9]+$/,
    whenAbsent: 'allow' as const,
    source: undefined,
    bypass: new Set<string>(),
    strict: false,
    removes: false,
    direct: false,
  }
  return resourceId(demand, routed(normalized(state, target), anEntry('GET /').route, new Map(), false))
}
