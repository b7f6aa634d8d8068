// `%`, `,`, space, and all that is not visible ASCII: such a value is safe in a header, in a list joined
// with commas, and in an access log that prints line breaks raw.
const unsafe = /[^!-$&-+\--~]/
const unsafeAll = /[^!-$&-+\--~]/gu

/** Percent-encodes one element of a header or metadata value (UTF-8 bytes, upper-case hex). A lone surrogate becomes U+FFFD. */
export function percentEncode(text: string): string {
  if (!unsafe.test(text)) return text
  return text.toWellFormed().replace(unsafeAll, (char) => {
    let out = ''
    for (const byte of Buffer.from(char)) out += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    return out
  })
}

export const percentEncodeList = (list: readonly string[]): string => list.map(percentEncode).join(',')
