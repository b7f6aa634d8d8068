import { isUtf8 } from 'node:buffer'

// `%`, `,`, space, and all that is not visible ASCII: such a value is safe in a header, in a list joined
// with commas, and in an access log that prints line breaks raw.
const unsafe = /[^!-$&-+\--~]/
const unsafeAll = /[^!-$&-+\--~]/gu

/** Percent-encodes one element of a header or metadata value (UTF-8 bytes, upper-case hex). A lone surrogate becomes U+FFFD. */
export function percentEncode(text: string): string {
  if (!unsafe.test(text)) return text
  return escapeAll(text, unsafeAll)
}

/** Puts `%XX` for each UTF-8 byte of the characters that match. @param pattern global and by code points (`gu`) */
export const escapeAll = (text: string, pattern: RegExp): string =>
  text.toWellFormed().replace(pattern, (char) => {
    let out = ''
    for (const byte of Buffer.from(char)) out += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    return out
  })

/** A list as one header or metadata value: each element encoded, joined with commas. */
export const percentEncodeList = (list: readonly string[]): string => list.map(percentEncode).join(',')

const brokenEscape = /%(?![0-9a-fA-F]{2})/

/**
 * Decodes percent-encoded UTF-8 (RFC 3986, section 2.1) without throwing: an exception for each of many broken escapes would
 * take long.
 * @returns undefined where an escape is broken, or what comes out is no UTF-8
 */
export function percentDecode(text: string): string | undefined {
  if (!text.includes('%')) return text
  if (brokenEscape.test(text)) return undefined
  const bytes = Buffer.from(text)
  let length = 0
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === 0x25) {
      bytes[length++] = (hexDigit(bytes[i + 1]!) << 4) | hexDigit(bytes[i + 2]!)
      i += 2
    } else bytes[length++] = bytes[i]!
  }
  const decoded = bytes.subarray(0, length)
  return isUtf8(decoded) ? decoded.toString() : undefined
}

/** @param byte an ASCII hexadecimal digit */
const hexDigit = (byte: number): number => (byte <= 0x39 ? byte - 0x30 : (byte | 0x20) - 0x57)
