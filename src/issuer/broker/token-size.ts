import { actClaim } from '../../core/actor.ts'
import type { TokenOrder } from '../../core/issuer.ts'
import { maxTokenBytes } from '../../core/jwt.ts'

/** What header, signature and the claims of every token take at most, in bytes of the token. */
const others = 1536

/** Whether the token that is ordered can be read by those that read tokens: a longer one would be no credential anywhere. */
export const fitsToken = ({ subject, client, roles = [], scopes, actor, task = '', orchestration = '' }: TokenOrder): boolean =>
  // Base64 makes four characters of three bytes.
  others +
    (Buffer.byteLength(JSON.stringify([subject, client ?? '', roles, scopes, actor ? actClaim(actor) : '', task, orchestration])) * 4) /
      3 <=
  maxTokenBytes
