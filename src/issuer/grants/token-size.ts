import { actClaim } from '../../core/actor.ts'
import type { TokenOrder } from '../../core/issuer.ts'
import { maxTokenBytes } from '../../core/jwt.ts'
import { type Refusal, refuse } from './refusal.ts'

/** What header, signature, times and the names of claims take at most, in bytes of the token. */
const others = 1280

/** Whether the token that is ordered is one that is read: a longer one would be no credential anywhere. */
export function fitsToken({ subject, client, audience, roles, scopes, actor, task, orchestration, claims }: TokenOrder): boolean {
  const said = [subject, client, audience, roles, scopes, actor && actClaim(actor), task, orchestration, claims]
  // Base64 makes four characters of three bytes.
  return others + (Buffer.byteLength(JSON.stringify(said)) * 4) / 3 <= maxTokenBytes
}

export const tooLong = (): Refusal =>
  refuse('invalid_scope', 'token_too_long', 'the token would be longer than 8 KiB: ask for fewer scopes')
