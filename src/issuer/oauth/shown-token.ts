import { type OwnToken, type TokenKind, tokenTypes } from '../../core/issuer.ts'
import type { Client } from '../../core/issuer-client.ts'
import type { JsonObject } from '../../core/json.ts'

/** The kind of a token that the token service issued; undefined for admin and page tokens, which are none of a client's business. */
export const kindOf = ({ typ }: Pick<OwnToken, 'typ'>): TokenKind | undefined =>
  (Object.keys(tokenTypes) as TokenKind[]).find((kind) => tokenTypes[kind] === typ)

/** Whether a client may be told what a token says (RFC 7662, section 2.1). A refresh token is nobody's but its own client's. */
export function mayIntrospect({ id, introspects }: Pick<Client, 'id' | 'introspects'>, token: OwnToken): boolean {
  const kind = kindOf(token)
  if (!introspects || kind === undefined) return false
  return kind !== 'refresh' || token.client === id
}

/** Whether a client may revoke a token (RFC 7009, section 2.1): those that were issued to it. */
export const mayRevoke = ({ id }: Pick<Client, 'id'>, token: OwnToken): boolean => kindOf(token) !== undefined && token.client === id

/** What the library writes by itself. */
const written = new Set(['iss', 'aud', 'exp', 'iat', 'jti', 'client_id', 'scope', 'cnf'])

/** A token as the library would have stored it: what its introspection answers is made of (RFC 7662, section 2.2). */
export function storedToken({ id, issuedAt, expiresAt, client, confirmation, claims }: OwnToken): object {
  const extra: JsonObject = Object.fromEntries(Object.entries(claims).filter(([name]) => !written.has(name)))
  return {
    kind: 'AccessToken',
    jti: id,
    iat: issuedAt,
    exp: expiresAt,
    ...(client !== undefined && { clientId: client }),
    ...(claims['aud'] !== undefined && { aud: claims['aud'] }),
    ...(typeof claims['scope'] === 'string' && { scope: claims['scope'] }),
    ...(confirmation?.x5tS256 !== undefined && { 'x5t#S256': confirmation.x5tS256 }),
    ...(confirmation?.jkt !== undefined && { jkt: confirmation.jkt }),
    extra,
  }
}
