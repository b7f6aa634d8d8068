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
