import type { Presented, Writing } from './asking.ts'
import type { Asked } from './pipeline.ts'

/** Two numbers to choose by. */
export type Dice = readonly [a: number, b: number]

/** One way to write the same request otherwise: some server, proxy or library would read both alike. */
export interface Respelling {
  readonly name: string
  /** Whether it says the same in this request. */
  readonly fits?: (who: Presented) => boolean
  readonly writing?: (writing: Writing, dice: Dice) => Writing
  readonly asked?: (asked: Asked, dice: Dice) => Asked
}

/** Any of a list. */
export const pick = <T>(list: readonly T[], by: number): T => list[by % list.length]!
export const hex = (char: string, upper: boolean): string => {
  const text = [...Buffer.from(char)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
  return upper ? text.toUpperCase() : text
}
export const replaceAt = (text: string, at: number, length: number, by: string): string => text.slice(0, at) + by + text.slice(at + length)

/** Writes one character of a text as an escape. */
export function escapeOne(text: string, [a, b]: Dice, keep: RegExp): string {
  const all = [...text].flatMap((char, i) => (keep.test(char) ? [] : [i]))
  // Those that stay as they are when a proxy normalizes what needs no escape get further than others.
  const lasting = all.filter((i) => /[^A-Za-z0-9._~-]/.test(text[i]!))
  const places = a % 2 === 0 && lasting.length > 0 ? lasting : all
  if (places.length === 0) return text
  const at = pick(places, a)
  return replaceAt(text, at, 1, hex(text[at]!, b % 2 === 0))
}
