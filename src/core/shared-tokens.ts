/** Fewer characters could be guessed; `openssl rand -hex 32` gives twice as many. */
const leastCharacters = 32
/** Longer than any header that carries one. */
const mostCharacters = 4096
/** The one in use, and while it is rotated the next one. */
const mostTokens = 2

/** What may follow `Bearer ` (RFC 6750, section 2.1). */
const bearerToken = /^[A-Za-z0-9\-._~+/]+=*$/

/**
 * Reads the secret of a `shared-token` validator: one token a line; empty lines are none.
 * @returns the tokens, or a sentence that says what is wrong and holds nothing of them
 */
export function readSharedTokens(text: string): readonly string[] | string {
  const tokens: string[] = []
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line === '') continue
    if (line.length < leastCharacters) return `the token of line ${i + 1} is too short: expected at least ${leastCharacters} characters`
    if (line.length > mostCharacters) return `the token of line ${i + 1} is too long: expected at most ${mostCharacters} characters`
    if (!bearerToken.test(line))
      return `line ${i + 1} holds what no bearer token can (RFC 6750): expected letters, digits and -._~+/, such as openssl rand -hex 32 gives`
    tokens.push(line)
  }
  if (tokens.length === 0) return 'there is no token: expected one a line'
  return tokens.length > mostTokens ? `there are ${tokens.length} tokens: expected one, or the old and the new while rotating` : tokens
}
