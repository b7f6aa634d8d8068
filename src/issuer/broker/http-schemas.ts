import { z } from 'zod'
import { ceilingExpected, ceilingScope, type LaunchOrder, launchDefaults } from '../../core/broker.ts'
import { segment } from './agents.ts'

// Bodies of the broker's calls. Patterns keep to what ECMAScript, Python and Rust read alike: the OpenAPI document shows them.

/** Seconds: the longest that can be asked for; what is granted has ceilings of its own. */
const longest = 31_536_000
const mostScopes = 32

/** A scope (RFC 6749, section 3.3). */
const scope = z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/, {
  error: 'expected a scope such as read:data:*: 1 to 128 visible ASCII characters without quotes and backslashes',
})
const scopes = z.array(scope).min(1).max(mostScopes)
const ceiling = z
  .array(z.string().max(128).regex(ceilingScope, { error: ceilingExpected }))
  .min(1)
  .max(mostScopes)
const seconds = (most: number) => z.int().min(1).max(most)
const named = z
  .string()
  .regex(/^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,256}$/, { error: 'expected 1 to 256 characters, no control characters' })
  // A lone surrogate has no UTF-8 of its own.
  .transform((text) => text.toWellFormed())
const segmentOfId = z.string().regex(segment, {
  error: 'expected a segment of a SPIFFE path: 1 to 128 letters, digits, ".", "_" and "-", the first one no "."',
})

const keyExpected = 'expected an Ed25519 public key: its 32 bytes in base64url, or a JWK with kty OKP, crv Ed25519 and x'
const rawKey = z.string().regex(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/, { error: keyExpected })

export const registerBody = z.strictObject({
  launch_token: z.string().regex(/^[0-9a-f]{64}$/, { error: 'expected 64 hexadecimal digits' }),
  nonce: z.string().min(1).max(128),
  public_key: z.union([rawKey, z.object({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: rawKey })], { error: keyExpected }),
  signature: z.string().regex(/^[A-Za-z0-9_-]{85}[AQgw]$/, { error: 'expected the 64 bytes of an Ed25519 signature in base64url' }),
  orch_id: segmentOfId,
  task_id: segmentOfId,
  requested_scope: scopes,
  ttl: seconds(longest).optional(),
})

export const validateBody = z.strictObject({ token: z.string().min(1).max(16_384) })

export const delegateBody = z.strictObject({
  scope: scopes,
  ttl: seconds(longest).optional(),
  agent_id: z.string().min(1).max(1024).optional(),
})

/** Nothing, or an empty object. */
export const noBody = z.strictObject({})

export const appAuthBody = z.strictObject({ client_id: z.string().min(1).max(256), client_secret: z.string().min(1).max(4096) })

/** A launch token as it is asked for, by an admin and by an app alike. */
export const launchFields = z.strictObject({
  agent_name: named,
  allowed_scope: ceiling,
  max_ttl: seconds(longest).default(launchDefaults.maxTtl),
  single_use: z.boolean().default(true),
  ttl: seconds(86_400).default(launchDefaults.ttl),
})

export const launchBody = launchFields.transform(
  ({ agent_name, allowed_scope, max_ttl, single_use, ttl }): LaunchOrder => ({
    agentName: agent_name,
    allowedScope: [...new Set(allowed_scope)],
    maxTtl: max_ttl,
    singleUse: single_use,
    ttl,
  }),
)
