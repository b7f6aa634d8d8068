import { z } from 'zod'
import { filePath, secret, text } from './values.ts'

/** How Postern proves itself as a client of an authorization server. */
export const clientAuth = () =>
  z
    .strictObject({
      secret: secret().optional().describe('client secret (RFC 6749, section 2.3.1)'),
      private_key_jwt: z
        .strictObject({
          key: secret().describe('PKCS #8 PEM'),
          kid: text().optional().describe('`kid` in the header of the assertion'),
          algorithm: z.enum(['ES256', 'RS256', 'PS256', 'EdDSA']).optional().describe('absent: by the kind of key (RS256, ES256 or EdDSA)'),
        })
        .optional()
        .describe('RFC 7523, section 2.2'),
      mtls: z
        .strictObject({ cert: filePath().describe('PEM file'), key: filePath().describe('PEM file') })
        .optional()
        .describe('RFC 8705, section 2'),
    })
    .refine((auth) => Object.keys(auth).length === 1, { error: 'expected exactly one of secret, private_key_jwt and mtls' })

export type ClientAuthSettings = z.output<ReturnType<typeof clientAuth>>
