import { randomBytes } from 'node:crypto'

/** What every API key begins with, so that it is told apart from other credentials, and found where it should not be. */
export const apiKeyPrefix = 'postern_key_'

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** 32 of 62 characters: 190 bits. */
const secretLength = 32
/** 62⁶ is more than 2³². */
const checksumLength = 6
const checkedLength = apiKeyPrefix.length + secretLength
const keyLength = checkedLength + checksumLength

/** The form of a key as a regular expression, for scanners; the checksum tells a key from a chance match. */
export const apiKeyPattern = `${apiKeyPrefix}[0-9A-Za-z]{${secretLength + checksumLength}}`

/**
 * Makes a key: the prefix, 32 random characters, and the checksum of both.
 * @param random gives so many random bytes
 */
export function makeApiKey(random: (size: number) => Uint8Array = randomBytes): string {
  let key = apiKeyPrefix
  while (key.length < checkedLength) {
    for (const byte of random(secretLength)) {
      // What is left above the last whole 62 is thrown away: each character is as likely as any other.
      if (byte < 248 && key.length < checkedLength) key += digits[byte % digits.length]
    }
  }
  return key + checksum(key)
}

/** Whether it is meant to be a key of ours. */
export const isApiKey = (token: string): boolean => token.startsWith(apiKeyPrefix)

/** Whether it could be a key that was made here: its length, its characters and its checksum. Says nothing of whether it is in force. */
export function isWholeApiKey(token: string): boolean {
  if (token.length !== keyLength || !isApiKey(token)) return false
  let crc = prefixCrc
  for (let i = apiKeyPrefix.length; i < checkedLength; i++) {
    const code = token.charCodeAt(i)
    if (!(digitOf[code]! >= 0)) return false
    crc = step(crc, code)
  }
  let written = 0
  for (let i = checkedLength; i < keyLength; i++) {
    const value = digitOf[token.charCodeAt(i)]!
    if (!(value >= 0)) return false
    written = written * digits.length + value
  }
  return written === ~crc >>> 0
}

/** CRC-32 of what stands before it, to the base of 62, the most significant digit first. */
function checksum(text: string): string {
  let rest = ~register(text) >>> 0
  let written = ''
  for (let i = 0; i < checksumLength; i++) {
    written = digits[rest % digits.length] + written
    rest = Math.floor(rest / digits.length)
  }
  return written
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1
  return crc
})

const step = (crc: number, code: number): number => table[(crc ^ code) & 0xff]! ^ (crc >>> 8)

/** The register of CRC-32 (ISO 3309; RFC 1952, section 8) after a text; its complement is the checksum. @param text ASCII */
function register(text: string): number {
  let crc = 0xffffffff
  for (let i = 0; i < text.length; i++) crc = step(crc, text.charCodeAt(i))
  return crc
}

const prefixCrc = register(apiKeyPrefix)

/** What a character stands for, by its code; -1, or nothing at all, where it is none of the digits. */
const digitOf = Int8Array.from({ length: 128 }, (_, code) => digits.indexOf(String.fromCharCode(code)))

/** Seconds since the epoch: the last instant that a date can be made of (ECMA-262, section 21.4.1.1). */
const lastInstant = 8.64e12

/** Whether it is a time as the record of a key holds one: seconds since the epoch, of which a date can be made. */
export const isInstant = (value: unknown): value is number => typeof value === 'number' && Math.abs(value) <= lastInstant
