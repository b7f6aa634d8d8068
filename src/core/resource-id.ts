import type { Routed } from './facts.ts'
import type { OwnerDemand } from './route.ts'

export type IdAnswer =
  | { readonly kind: 'id'; readonly id: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'malformed'; readonly detail: string }

const malformed = (detail: string): IdAnswer => ({ kind: 'malformed', detail })
const absent: IdAnswer = { kind: 'absent' }

/** The id that a request names its resource by: from the path, a header or the query. Absent means not sent in any spelling. */
export function resourceId(demand: OwnerDemand, state: Routed): IdAnswer {
  const raw = rawId(demand, state)
  if (raw === undefined) return absent
  if (typeof raw !== 'string') return raw
  if (raw === '') return malformed(`the id of the ${demand.resource} is empty`)
  return demand.idPattern.test(raw) ? { kind: 'id', id: raw } : malformed(`the id of the ${demand.resource} does not match its pattern`)
}

function rawId(demand: OwnerDemand, state: Routed): string | IdAnswer | undefined {
  const { from, name } = demand.id
  switch (from) {
    case 'path':
      return state.params.get(name)
    case 'header':
      return fromHeader(name, state)
    case 'query':
      return fromQuery(name, state.target.query)
  }
}

// An upstream may read `-` and `_` alike: what looks like the id and is not read as one must not pass for absent.
function fromHeader(name: string, { request }: Routed): string | IdAnswer | undefined {
  for (const seen of request.headerNames()) {
    if (seen.length === name.length && seen !== name && seen.includes('_') && seen.replaceAll('_', '-') === name.replaceAll('_', '-')) {
      return malformed(`a header that looks like ${name}`)
    }
  }
  if (request.headerCount(name) > 1) return malformed(`${name} was sent more than once`)
  const value = request.header(name)
  return value?.includes(',') ? malformed(`${name} holds more than one id`) : value
}

function fromQuery(name: string, query: string): string | IdAnswer | undefined {
  if (query === '') return undefined
  let found: string | undefined
  const wanted = name.toLowerCase()
  // Some servers part parameters at `;` too.
  for (const part of query.split(/[&;]/)) {
    const equals = part.indexOf('=')
    const key = decode(equals < 0 ? part : part.slice(0, equals))
    // A broken escape could be anybody's parameter; only where it may stand for ours does it matter.
    if (key === undefined) {
      if (part.toLowerCase().includes(wanted)) return malformed('the query cannot be decoded')
      continue
    }
    if (key !== name) {
      const alike = key.toLowerCase().replace(/\[.*$/, '').trim()
      if (alike === wanted) return malformed(`a parameter that looks like ${name}`)
      continue
    }
    if (found !== undefined) return malformed(`${name} was sent more than once`)
    const value = decode(equals < 0 ? '' : part.slice(equals + 1))
    if (value === undefined) return malformed(`${name} cannot be decoded`)
    if (value.includes(',')) return malformed(`${name} holds more than one id`)
    found = value
  }
  return found
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}
