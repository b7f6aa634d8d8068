import { z } from 'zod'
import { signatureAlgorithms } from '../core/jws.ts'
import { duration, some } from './values.ts'

/** How DPoP proofs (RFC 9449) are judged: of every token that is bound to a key, whatever its validator. */
export const dpop = () =>
  z
    .strictObject({
      max_age: duration({ min: '5s', max: '10m' })
        .prefault('60s')
        .describe('how long after its iat a proof is good, clocks that are apart included'),
      nonce: z
        .enum(['off', 'required'])
        .prefault('off')
        .describe('required: a proof has to hold a nonce that was given out here within the last max_age or two (RFC 9449, section 8)'),
      algorithms: some(z.enum(signatureAlgorithms))
        .prefault([...signatureAlgorithms])
        .describe('signature algorithms of proofs'),
    })
    .prefault({})
    .describe('Proofs of tokens that are bound to a key (DPoP, RFC 9449)')

export type DpopSettings = z.output<ReturnType<typeof dpop>>
