/** One element of `x-forwarded-client-cert`: a name may stand several times. */
type Element = readonly (readonly [key: string, value: string])[]

const maxLength = 32_768
const keyForm = /^[A-Za-z]+$/
/** A value without quotes holds nothing that separates. */
const plain = /[^,;="\\]*/y
/**
 * In quotes, where a backslash takes what follows it along: Envoy quotes a certificate's subject as RFC 2253, section 2.4
 * has it, with `\"`, `\\`, `\,` and `\C3` in it.
 */
const quoted = /"((?:[^"\\]|\\.)*)"/y

/**
 * Reads `x-forwarded-client-cert` as Envoy writes it: elements with a comma between them, the last one for the nearest
 * proxy's client; each of `Key=value` with a semicolon between them.
 * @returns undefined where any of it could be read in another way
 */
export function readForwardedCertificates(header: string): readonly Element[] | undefined {
  if (header.length > maxLength) return undefined
  const elements: [string, string][][] = [[]]
  for (let at = 0; ; at++) {
    const equals = header.indexOf('=', at)
    const key = equals < 0 ? '' : header.slice(at, equals)
    if (!keyForm.test(key)) return undefined
    const value = valueAt(header, equals + 1)
    if (!value) return undefined
    elements.at(-1)!.push([key.toLowerCase(), value.text])
    at = value.end
    if (at === header.length) return elements
    if (header[at] === ',') elements.push([])
    else if (header[at] !== ';') return undefined
  }
}

function valueAt(header: string, at: number): { readonly text: string; readonly end: number } | undefined {
  const inQuotes = header[at] === '"'
  const form = inQuotes ? quoted : plain
  form.lastIndex = at
  const found = form.exec(header)
  if (!found) return undefined
  return { text: inQuotes ? (found[1] ?? '').replace(/\\(["\\])/g, '$1') : found[0], end: form.lastIndex }
}

/**
 * The URI of the certificate that the nearest proxy's client showed.
 * @returns undefined where that certificate names none; `unclear` where there are several, or the header cannot be read
 */
export function forwardedUri(header: string): string | 'unclear' | undefined {
  const uris = readForwardedCertificates(header)
    ?.at(-1)
    // Envoy writes an empty one for a certificate without.
    ?.filter(([key, value]) => key === 'uri' && value !== '')
  if (!uris || uris.length > 1) return 'unclear'
  return uris[0]?.[1]
}
