import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { Unavailable } from '../../core/ports.ts'

/** Seconds that a nonce is good for. */
export const nonceLife = 30
/** Seconds that the clocks of two replicas may be apart here. */
const drift = 5

const [endBytes, randomPart, macBytes] = [8, 16, 32] as const
const shape = /^[A-Za-z0-9_-]{75}$/

/** Nonces of the challenge: nobody has to remember one that was given out, only one that was used. */
export interface Nonces {
  /** @param now milliseconds since the epoch. @throws {Unavailable} where the shared secret is not known yet */
  readonly make: (now: number) => string
  /** Whether it is one of ours and still good. @throws {Unavailable} */
  readonly accepts: (nonce: string, now: number) => boolean
  /** Whether its time is wrong alone: one of ours of another clock, or too old. */
  readonly isOutOfTime: (nonce: string, now: number) => boolean
}

/** What names a used nonce, for as long as it could be shown again. */
export const claimOf = (nonce: string): string => `broker-${hash('sha256', nonce, 'base64url')}`

/** When a claim of a nonce may be forgotten, seconds since the epoch. @param now milliseconds since the epoch */
export const claimedUntil = (now: number): number => Math.ceil(now / 1000) + nonceLife + 2 * drift

/**
 * A nonce is its end (milliseconds since the epoch) and 16 random bytes under a MAC by a secret that all replicas share, in
 * base64url: any of them knows it again.
 * @param secret undefined until state gave it
 */
export function createNonces(secret: () => Uint8Array | undefined, realm: string): Nonces {
  const mac = (body: Uint8Array): Buffer => {
    const key = secret()
    if (!key) throw new Unavailable('the secret of the challenges has not been read from state yet')
    return createHmac('sha256', key).update(`broker challenge ${realm}`).update(body).digest()
  }
  /** When it ends, in milliseconds since the epoch; undefined: not one of ours. */
  const endOf = (nonce: string): number | undefined => {
    if (!shape.test(nonce)) return undefined
    const bytes = Buffer.from(nonce, 'base64url')
    if (bytes.toString('base64url') !== nonce) return undefined
    const body = bytes.subarray(0, endBytes + randomPart)
    return timingSafeEqual(bytes.subarray(endBytes + randomPart), mac(body)) ? Number(body.readBigUInt64BE(0)) : undefined
  }
  const isInTime = (end: number, now: number): boolean => end > now && end <= now + (nonceLife + drift) * 1000
  return {
    make: (now) => {
      const body = Buffer.alloc(endBytes + randomPart)
      body.writeBigUInt64BE(BigInt(now + nonceLife * 1000))
      randomBytes(randomPart).copy(body, endBytes)
      return Buffer.concat([body, mac(body)], endBytes + randomPart + macBytes).toString('base64url')
    },
    accepts: (nonce, now) => {
      const end = endOf(nonce)
      return end !== undefined && isInTime(end, now)
    },
    isOutOfTime: (nonce, now) => {
      const end = endOf(nonce)
      return end !== undefined && !isInTime(end, now)
    },
  }
}
