import type { Routed } from './facts.ts'
import { percentDecode } from './percent.ts'
import type { OwnerDemand } from './route.ts'

export type IdAnswer =
  | { readonly kind: 'id'; readonly id: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'malformed'; readonly detail: string }

/** Characters. A longer one is no id, whatever its pattern says. */
const maxIdLength = 1024

const malformed = (detail: string): IdAnswer => ({ kind: 'malformed', detail })
const absent: IdAnswer = { kind: 'absent' }

/** The id that a request names its resource by: from the path, a header or the query. Absent means not sent in any spelling. */
export function resourceId(demand: OwnerDemand, state: Routed): IdAnswer {
  const raw = rawId(demand, state)
  if (raw === undefined) return absent
  if (typeof raw !== 'string') return raw
  if (raw === '') return malformed(`the id of the ${demand.resource} is empty`)
  if (raw.length > maxIdLength) return malformed(`the id of the ${demand.resource} is longer than ${maxIdLength} characters`)
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
  const wanted = bareName(name)
  for (const part of query.split('&')) {
    // Some servers part parameters at `;` too, others take it for a part of the value.
    if (part.includes(';') && part.split(';').some((piece) => bareName(keyOf(piece)) === wanted)) {
      return malformed(`${name} beside ";" in the query`)
    }
    const equals = part.indexOf('=')
    const key = decode(keyOf(part))
    if (key !== name) {
      // A broken escape could be anybody's parameter; only where it may stand for ours does it matter.
      const bare = bareName(keyOf(part))
      if (bare === wanted || (key === undefined && bare.includes(wanted))) {
        return malformed(`a parameter that looks like ${name}`)
      }
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

const keyOf = (part: string): string => part.split('=', 1)[0]!

/**
 * What remains of a parameter's name where servers read it loosely: without case, without what follows NUL or stands in
 * brackets, and without white space, `.`, `_`, `-` and a lone `[`, some of which PHP, for one, takes for each other, and
 * `?`, of which many take one more away where they are handed a query without its own.
 */
function bareName(raw: string): string {
  const text = raw.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  const nul = text.indexOf('\0', 1)
  const list = text.includes(']') ? text.indexOf('[', 1) : -1
  const ends = [nul, list].filter((at) => at > 0)
  return text
    .slice(0, ends.length > 0 ? Math.min(...ends) : undefined)
    .toLowerCase()
    .replace(/[\s+._?[-]/g, '')
}

const decode = (text: string): string | undefined => percentDecode(text.replaceAll('+', ' '))
