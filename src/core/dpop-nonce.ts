import { createHmac } from 'node:crypto'
import { clockSkew } from './jwt.ts'

/** Characters: 144 bits, which nobody guesses. */
const nonceLength = 24

/**
 * Nonces that nobody has to remember (RFC 9449, section 8): each is made of the span of time that it was given in, with a
 * secret that all replicas share.
 */
export interface Nonces {
  /** The one to give out. */
  readonly current: (now: number) => string
  /** Whether it was given out in this span or the one before; a replica whose clock is ahead may be in the next. */
  readonly accepts: (nonce: string, now: number) => boolean
}

/** @param stepMs milliseconds of a span: a nonce is good for one at least, and for two at most */
export function createNonces(secret: Uint8Array, realm: string, stepMs: number): Nonces {
  const made = new Map<number, string>()
  const nonceOf = (step: number): string => {
    const known = made.get(step)
    if (known !== undefined) return known
    const nonce = createHmac('sha256', secret).update(`dpop nonce ${realm} ${step}`).digest('base64url').slice(0, nonceLength)
    // Past, present and next: what is older is never asked for again.
    if (made.size >= 8) made.clear()
    made.set(step, nonce)
    return nonce
  }
  const stepAt = (ms: number): number => Math.floor(ms / stepMs)
  return {
    current: (now) => nonceOf(stepAt(now)),
    accepts: (nonce, now) =>
      [now, now - stepMs, now + Math.min(stepMs, clockSkew * 1000)].some((moment) => nonceOf(stepAt(moment)) === nonce),
  }
}
