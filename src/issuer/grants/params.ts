import type { GrantRequest } from '../grants.ts'

type Params = GrantRequest['params']

/** All values of a parameter; one without a value counts as left out (RFC 6749, section 3.2). */
export function many(params: Params, name: string): readonly string[] {
  const value = params.get(name)
  const values = typeof value === 'string' ? [value] : (value ?? [])
  return values.filter((one) => one !== '')
}

/** The value of a parameter that comes once; of several the first. */
export const one = (params: Params, name: string): string | undefined => many(params, name)[0]

/** A scope token (RFC 6749, section 3.3). */
const scopeToken = /^[\x21\x23-\x5b\x5d-\x7e]+$/
/** Scopes in one request. */
const mostScopes = 128

/** What a scope must be to stand in a token or an answer. */
export const isScope = (text: string): boolean => scopeToken.test(text)

/** @returns what `scope` asks for, each once; undefined where it asks for nothing, `malformed` where it is no list of scopes */
export function askedScopes(params: Params): readonly string[] | undefined | 'malformed' {
  const text = one(params, 'scope')
  if (text === undefined) return undefined
  const scopes = [...new Set(text.split(' '))]
  return scopes.length <= mostScopes && scopes.every(isScope) ? scopes : 'malformed'
}
