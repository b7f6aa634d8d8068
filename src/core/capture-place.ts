import { idAt, type JsonText, spanAt } from './capture-json.ts'
import { percentDecode } from './percent.ts'
import type { IdPattern, ResponsePlace } from './route.ts'

/** Headers of a response by their lower-case names. */
export type ResponseHeaders = ReadonlyMap<string, readonly string[]>

/** What a response says at the places that were asked for. */
export type Said =
  | { readonly kind: 'said'; readonly text: string }
  /** None of the places is there. */
  | { readonly kind: 'silent' }
  /** It could be read in more than one way, or not at all. */
  | { readonly kind: 'unclear'; readonly why: string }
  /** It depends on the body, which has not come yet. */
  | { readonly kind: 'unread' }

const silent: Said = { kind: 'silent' }
const unread: Said = { kind: 'unread' }
const unclear = (why: string): Said => ({ kind: 'unclear', why })
const said = (text: string): Said => ({ kind: 'said', text })

/**
 * The first of the places that a response has.
 * @param body undefined while it is awaited, `none` where there is none
 */
export function firstSaid(places: readonly ResponsePlace[], headers: ResponseHeaders, body: JsonText | 'none' | undefined): Said {
  for (const place of places) {
    const found = saidAt(place, headers, body)
    if (found.kind !== 'silent') return found
  }
  return silent
}

function saidAt(place: ResponsePlace, headers: ResponseHeaders, body: JsonText | 'none' | undefined): Said {
  switch (place.from) {
    case 'header':
      return single(headers, place.name)
    case 'location': {
      const location = single(headers, 'location')
      return location.kind === 'said' ? lastSegment(location.text) : location
    }
    case 'body': {
      if (body === undefined) return unread
      const span = body === 'none' ? undefined : spanAt(body, place.pointer)
      if (span === undefined || body === 'none') return silent
      if (span === 'twice') return unclear('a member on the way of the pointer stands there twice')
      const text = idAt(body, span)
      return text === undefined ? unclear('the value is neither a string nor an integer') : said(text)
    }
  }
}

function single(headers: ResponseHeaders, name: string): Said {
  const values = headers.get(name)
  if (values === undefined || values.length === 0) return silent
  if (values.length > 1) return unclear(`${name} was sent more than once`)
  const value = values[0]!.trim()
  // Envoy joins lines of some headers, `location` among them.
  if (value.includes(',')) return unclear(`${name} holds more than one value`)
  // Which characters such bytes stand for, nobody says (RFC 9110, section 5.5): read otherwise they are another resource's id.
  return /[^\t -~]/.test(value) ? unclear(`${name} holds bytes that are not ASCII`) : said(value)
}

/** The last segment, that is not empty, of the path of a URL (RFC 3986, section 4.1), absolute or relative, decoded once. */
function lastSegment(location: string): Said {
  const [bare = ''] = location.split(/[?#]/, 1)
  const path = bare.replace(/^(?:[A-Za-z][A-Za-z0-9+.-]*:)?\/\/[^/]*/, '')
  const segment = path.split('/').findLast((each) => each !== '')
  if (segment === undefined) return unclear('location has no path')
  const text = percentDecode(segment)
  return text === undefined ? unclear('location cannot be decoded') : said(text)
}

/** Characters. A longer one is no id, whatever its pattern says. */
const maxIdLength = 1024

/** Whether a response may name a resource so. In state, all lone surrogates are one character. */
export const isId = (pattern: IdPattern, id: string): boolean =>
  id !== '' && id !== '.' && id !== '..' && id.length <= maxIdLength && id.isWellFormed() && pattern.test(id)
