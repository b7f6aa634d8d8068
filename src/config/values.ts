import { z } from 'zod'
import { referenceForm, Secret } from './secret.ts'

const milliseconds = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const bytes = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

const durationExpected = 'expected a duration: a whole number and its unit (ms, s, m, h or d), such as "30s"'
const sizeExpected = 'expected a size: a whole number and its unit (B, KiB, MiB or GiB), such as "256KiB"'

/**
 * A span of time: `150ms`, `30s`, `15m`, `6h`, `30d`, `0s`. Its value is in milliseconds.
 * @param bounds as such texts too, both inclusive
 */
export function duration(bounds: { min?: string; max?: string } = {}) {
  const least = bounds.min === undefined ? 0 : toMilliseconds(bounds.min)
  const most = bounds.max === undefined ? 365 * milliseconds.d : toMilliseconds(bounds.max)
  const limit = `expected a duration of ${bounds.min ?? '0s'} to ${bounds.max ?? '365d'}`
  return z
    .string({ error: durationExpected })
    .regex(/^(?:0|[1-9][0-9]{0,11})(?:ms|s|m|h|d)$/, { error: durationExpected, abort: true })
    .refine((text) => toMilliseconds(text) >= least && toMilliseconds(text) <= most, { error: limit })
    .transform(toMilliseconds)
}

function toMilliseconds(text: string): number {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text)
  return match ? Number(match[1]) * milliseconds[match[2] as keyof typeof milliseconds] : Number.NaN
}

/** A number of bytes: `256KiB`. */
export const size = () =>
  z
    .string({ error: sizeExpected })
    .regex(/^[1-9][0-9]{0,8}(?:B|KiB|MiB|GiB)$/, { error: sizeExpected })
    .transform((text) => {
      const match = /^(\d+)(\w+)$/.exec(text)
      return Number(match?.[1]) * bytes[match?.[2] as keyof typeof bytes]
    })

/** Milliseconds as the file would write them. */
export function durationText(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) if (ms > 0 && ms % milliseconds[unit] === 0) return `${ms / milliseconds[unit]}${unit}`
  return ms === 0 ? '0s' : `${ms}ms`
}

const nameExpected = 'expected a name: a letter or digit, then letters, digits, ".", "_", ":" or "-", at most 128'
/** Ids of routes and names of validators, sources, endpoints and roles. */
export const name = () => z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/, { error: nameExpected })

/** A text that is not empty and holds no control characters. */
export const text = () =>
  z.string().regex(/^[^\u0000-\u001f\u007f]+$/, { error: 'expected a text that is not empty and holds no control characters' })

/** A list that is not empty. */
export const some = <T extends z.ZodType>(element: T) => z.array(element).min(1, { error: 'expected at least one element' })

/** One text, or a list of them. */
export const oneOrMore = () => z.union([text().transform((one) => [one]), some(text())])

/** A secret, or a text that may hold secrets: references stand for them. */
export const secret = () =>
  z
    .string()
    .min(1, { error: `expected a secret by reference: ${referenceForm}` })
    .transform((reference) => new Secret(reference))

/** A file; where relative, from the folder of the policy file. */
export const filePath = () => text()
