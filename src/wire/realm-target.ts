/** Which of several realms a request target is for, and what it asks there. */
export interface RealmTarget {
  readonly realm: string
  /** The target as the realm alone would be asked: `/realms/acme/token?x` is `/token?x`. */
  readonly target: string
}

const below = /^\/realms\/([A-Za-z0-9][A-Za-z0-9._-]{0,62})(?=[/?]|$)\/?/
/** RFC 8414, section 3.1: the well-known part stands before the path of the issuer. */
const before = /^(\/\.well-known\/[a-z-]+)\/realms\/([A-Za-z0-9][A-Za-z0-9._-]{0,62})\/?(?=\?|$)/

/**
 * Reads a request target (`:path`, or that of the request line), as it was sent: no spelling of a name is taken for another.
 * @returns undefined where it is for no realm
 */
export function realmTarget(sent: string): RealmTarget | undefined {
  const under = below.exec(sent)
  if (under) return { realm: under[1]!, target: `/${sent.slice(under[0].length)}` }
  const known = before.exec(sent)
  return known ? { realm: known[2]!, target: known[1]! + sent.slice(known[0].length) } : undefined
}
