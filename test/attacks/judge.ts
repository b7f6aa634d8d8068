import type { Case, Expected } from './case.ts'
import type { Outcome, Received } from './outcome.ts'
import { people } from './people.ts'

/** What an upstream takes for ours, `-` and `_` read alike. */
const prefix = 'x-postern-'
const failureMode = 'x-envoy-auth-failure-mode-allowed'

/**
 * Whether a case came out as it must.
 * @param strict Postern itself; else another server, which may deny what it could have sanitized, in words of its own
 * @param text fills templates in
 * @param lacks features that the server does not have
 * @returns what is wrong; undefined where nothing is
 */
export function judge(
  one: Case,
  outcome: Outcome,
  strict: boolean,
  text: (template: string) => string,
  lacks: ReadonlySet<string>,
): string | undefined {
  const { kind, status } = outcome
  switch (one.expect) {
    case 'allow':
    case 'allow-sanitized':
      if (kind === 'allow') return sanitized(one, outcome, strict, text, lacks)
      if (one.expect === 'allow-sanitized' && !strict && kind !== 'error') return undefined
      return `was to be allowed: ${outcome.detail}`
    case 'deny':
      if (kind === 'allow') return `was to be denied: ${outcome.detail}`
      // Where Envoy fails closed, a server that fails denies.
      if (!strict) return undefined
      // Without a reason it makes no difference who said no.
      if (kind === 'refused' && one.reason === undefined) return undefined
      if (kind !== 'deny') return `was to be denied by the server: ${outcome.detail}`
      if (one.reason !== undefined && outcome.reason !== undefined && outcome.reason !== one.reason)
        return `was to be denied as ${one.reason}: ${outcome.detail}`
      return one.status !== undefined && status !== one.status ? `was to be answered with ${one.status}: ${outcome.detail}` : undefined
    case 'refused':
      if (kind === 'allow') return `was to be refused by Envoy: ${outcome.detail}`
      if (!strict) return undefined
      if (kind !== 'refused') return `was to be refused by Envoy: ${outcome.detail}`
      return one.status !== undefined && status !== one.status ? `was to be refused with ${one.status}: ${outcome.detail}` : undefined
  }
}

/** Exactly the identity that the case names, and nothing that the client made up. */
function sanitized(
  one: Case,
  { received, detail }: Outcome,
  strict: boolean,
  text: (template: string) => string,
  lacks: ReadonlySet<string>,
): string | undefined {
  const expected = one.upstream
  if (expected === undefined) return undefined
  if (received === undefined) return `nothing is known of what the upstream got: ${detail}`
  const { who, set, path } = expected
  const someone = people[who]
  if (someone === undefined) throw new Error(`nobody is called ${who}`)
  const wanted = new Map<string, string>()
  for (const [name, value] of Object.entries(someone.headers))
    wanted.set(
      `${prefix}${name}`,
      value.replace(/^\{(\w+)\}$/, (_, issuer: string) => text(`{{issuer ${issuer}}}`)),
    )
  for (const [name, value] of Object.entries(set)) wanted.set(name, text(value))
  for (const [name, value] of received.headers) {
    const alike = name.replaceAll('_', '-')
    if (alike === failureMode || expected.lacks.includes(name)) return `the upstream got ${name}`
    if (!alike.startsWith(prefix)) continue
    if (name === `${prefix}decision`) {
      if (value.includes('forged')) return 'the upstream got the client’s x-postern-decision'
      continue
    }
    // Another server may encode what needs no encoding, too.
    const expectedValue = wanted.get(name)
    if (expectedValue !== value && (strict || expectedValue === undefined || decoded(expectedValue) !== decoded(value)))
      return `the upstream got ${name}: ${value}`
    wanted.delete(name)
  }
  for (const [name, value] of wanted) if (value !== '') return `the upstream did not get ${name}: ${value}`
  for (const [name, value] of [
    ['cookie', expected.cookie],
    ['sec-websocket-protocol', expected.subprotocol],
  ]) {
    const got = received.headers.find(([one]) => one === name)?.[1]
    if (value !== undefined && got !== value) return `the upstream got ${name}: ${got}`
  }
  if (path !== undefined && received.path !== path) return `the upstream got the path ${received.path}`
  // Whoever exchanges no tokens hands none on.
  const handed = lacks.has('exchange') && expected.authorization === 'downstream' ? 'none' : expected.authorization
  return authorization(one, { ...expected, authorization: handed }, received, text)
}

function authorization(one: Case, expected: Expected, { headers }: Received, text: (template: string) => string): string | undefined {
  const values = headers.flatMap(([name, value]) => (name === 'authorization' ? [value] : []))
  if (expected.authorization === 'none') return values.length === 0 ? undefined : 'the upstream got an Authorization'
  if (values.length !== 1) return `the upstream got ${values.length} Authorization headers`
  const [value = ''] = values
  if (expected.authorization === 'kept') return undefined
  const sent = one.as === undefined ? one.token && text('{{token}}') : text(`{{${one.as}}}`)
  if (sent !== undefined && value.includes(sent)) return 'the upstream got the client’s own token'
  const claims = JSON.parse(Buffer.from(value.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>
  for (const [name, wanted] of Object.entries(expected.token ?? {}))
    if (JSON.stringify(claims[name]) !== JSON.stringify(wanted)) return `the downstream token has ${name}: ${JSON.stringify(claims[name])}`
  return undefined
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
