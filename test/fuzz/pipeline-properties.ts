import assert from 'node:assert/strict'
import fc from 'fast-check'
import { asking, type Presented, presented, usual, type Wanted, type Writing, wanted } from './asking.ts'
import { type Asked, type Decided, ingress, openPipeline, parsed } from './pipeline.ts'
import type { Opened, Property } from './property.ts'
import type { Dice } from './respelling.ts'
import { respellings } from './respellings.ts'

/** A property of the whole pipeline, which is opened anew for each run. */
const ofPipeline = <T>(
  name: string,
  inputs: fc.Arbitrary<T>,
  judge: (decide: (asked: Asked) => Promise<Decided>, input: T) => Promise<void>,
  { weight, few }: { readonly weight: number; readonly few: number },
): Property => ({
  name,
  weight,
  few,
  open: async () => {
    const { decide, close } = await openPipeline()
    const opened: Opened<T> = { inputs, check: () => {}, checkLater: (input) => judge(decide, input), close }
    return opened as Opened<unknown>
  },
})

const form = fc.constantFrom<Asked['form']>('headers', 'header_map', 'raw')
const dice = fc.tuple(fc.nat(999), fc.nat(999))

interface Pair {
  readonly what: Wanted
  readonly who: Presented
  readonly form: Asked['form']
  readonly changes: readonly (readonly [index: number, dice: Dice])[]
}
// Escapes in the path come first in the list: most are refused at once, so that many are needed.
const change = fc.oneof({ weight: 6, arbitrary: fc.nat(respellings.length - 1) }, fc.constant(0))
const pair: fc.Arbitrary<Pair> = fc.record({
  what: wanted,
  who: presented,
  form,
  changes: fc.array(fc.tuple(change, dice), { minLength: 1, maxLength: 3 }),
})

/** The request in another spelling, and the names of what was done to it. */
function respelled({ what, who, form: how, changes }: Pair): { readonly asked: Asked; readonly how: string } {
  const chosen = changes.map(([index, by]) => ({ by, one: respellings[index]! })).filter(({ one }) => one.fits?.(who) ?? true)
  let writing = usual
  for (const { one, by } of chosen) writing = one.writing?.(writing, by) ?? writing
  let asked = asking(what, who, how, writing)
  for (const { one, by } of chosen) asked = one.asked?.(asked, by) ?? asked
  return { asked, how: chosen.map(({ one }) => one.name).join(', ') }
}

/** Headers that tell the upstream who asks. */
const identity = (set: Decided['set']) =>
  Object.fromEntries(Object.entries(set).filter(([name]) => /^x-postern|^authorization$/.test(name)))

/** Who, what and where; a peer that is no longer understood as one takes its workload with it, and nothing else. */
function essence({ who, set }: Decided, withWorkload: boolean) {
  const { workload, ...rest } = who
  const { 'x-postern-workload': header, ...headers } = identity(set)
  return withWorkload ? { workload, ...rest, header, headers } : { ...rest, headers }
}

async function judgePair(decide: (asked: Asked) => Promise<Decided>, input: Pair): Promise<void> {
  const plain = asking(input.what, input.who, input.form)
  const first = await decide(plain)
  const { asked, how } = respelled(input)
  const second = await decide(asked)
  const told = `${how}\n${JSON.stringify(plain)}\n${JSON.stringify(first.who)} ${first.reason}\n${JSON.stringify(asked)}\n${JSON.stringify(second.who)} ${second.reason}`
  assert.notEqual(first.reason, 'internal', told)
  assert.notEqual(second.reason, 'internal', told)
  if (!second.allowed) return
  assert.ok(first.allowed, `what was denied is allowed: ${told}`)
  const workload = second.who['workload'] !== undefined || asked.peer === plain.peer
  assert.deepEqual(essence(second, workload), essence(first, workload), `it moved: ${told}`)
}

interface Sent {
  readonly what: Wanted
  readonly who: Presented
  readonly form: Asked['form']
  readonly more: readonly (readonly [string, string])[]
}
const claimedName = fc
  .tuple(
    fc.constantFrom(
      'x-postern-',
      'x-postern-subject',
      'x-postern-roles',
      'x-postern-claim-',
      'x-envoy-auth-failure-mode-allowed',
      'x-user-id',
      'x-user-roles',
      'x-user-groups',
      'x-user-email',
      'x-end-user',
      'x-api-key',
      'authorization',
    ),
    fc.constantFrom('', '', 'x', '-x', '_y'),
    fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
    fc.boolean(),
  )
  .map(([name, more, dashes, upper]) => {
    let i = 0
    const text = `${name}${more}`.replace(/-/g, () => (dashes[i++ % 8] && name !== 'x-api-key' ? '_' : '-'))
    return upper ? text.toUpperCase() : text
  })
const sent: fc.Arbitrary<Sent> = fc.record({
  what: wanted,
  who: presented,
  form,
  more: fc.array(fc.tuple(claimedName, fc.constantFrom('admin', 'alice', '')), { maxLength: 3 }),
})

/** The ends of all credentials, which nothing else could hold. */
const secretsOf = ({ headers, query }: Asked): string[] =>
  [
    ...headers.filter(([name]) => /^(?:authorization|x-api-key|cookie|sec-websocket-protocol)$/.test(name)).map(([, value]) => value),
    query.includes('access_token') ? query : '',
  ]
    .map((text) => text.slice(-20))
    .filter((text) => /^[\w+/=-]{20}$/.test(text))

/** What an upstream must never see as the client wrote it, and nobody else at all. */
async function judgeSent(decide: (asked: Asked) => Promise<Decided>, { what, who, form: how, more }: Sent): Promise<void> {
  const plain = asking(what, who, how)
  const asked = {
    ...plain,
    headers: [...plain.headers, ...more.filter(([name]) => name.toLowerCase() !== 'authorization' || who.kind === 'none')],
  }
  const { allowed, set, removed, removedQuery, who: found, status, said, bytes } = await decide(asked)
  for (const secret of secretsOf(asked)) assert.ok(!bytes.includes(secret), `the answer holds a credential: ${JSON.stringify(asked)}`)
  if (!allowed) {
    assert.ok(status >= 400 && status < 600, `${status}`)
    for (const [name, value] of said) assert.match(`${name}: ${value}`, /^[\x20-\x7e]+$/)
    return
  }
  const told = `${JSON.stringify(asked)}\nset ${JSON.stringify(set)}\nremoved ${removed.join(', ')}`
  const gone = (name: string) => removed.includes(name) || Object.hasOwn(set, name)
  for (const [name, value] of asked.headers) {
    const lower = name.toLowerCase()
    const alike = lower.replaceAll('_', '-')
    if (alike.startsWith('x-postern-') || alike === 'x-envoy-auth-failure-mode-allowed') assert.ok(gone(lower), `${lower} goes on: ${told}`)
    if (alike === 'authorization' && found['route'] !== 'console') assert.ok(gone(lower), `${lower} goes on: ${told}`)
    if (lower === 'x-api-key' || lower === 'x-end-user') assert.ok(removed.includes(lower), `${lower} goes on: ${told}`)
    if (/^x-user-(?:id|roles|email|groups)$/.test(lower) && asked.peer !== ingress)
      assert.ok(removed.includes(lower), `${lower} goes on: ${told}`)
    const token = /session=([^;]+)|bearer\.(\S+)/.exec(lower === 'cookie' || lower === 'sec-websocket-protocol' ? value : '')
    const carried = token?.[1] ?? token?.[2]
    if (carried)
      assert.ok(
        removed.includes(lower) || (Object.hasOwn(set, lower) && !set[lower]!.includes(carried)),
        `the credential in ${lower} goes on: ${told}`,
      )
  }
  for (const name of Object.keys(set)) assert.ok(!removed.includes(name), `${name} is set and removed: ${told}`)
  if (asked.query.includes('access_token')) assert.ok(removedQuery.includes('access_token'), `access_token goes on: ${told}`)
  for (const [name, value] of Object.entries(set)) assert.match(value, /^[\t\x20-\x7e]*$/, `${name}: ${told}`)
}

interface Two {
  readonly what: Wanted
  readonly one: Presented
  readonly other: Presented
  readonly form: Asked['form']
}
const bearing = presented.filter(({ kind }) => kind !== 'none' && kind !== 'edge' && kind !== 'mtls')
const two: fc.Arbitrary<Two> = fc.record({ what: wanted, one: bearing, other: bearing, form })

/** Two credentials that differ admit nobody, whichever of them is good. */
async function judgeTwo(decide: (asked: Asked) => Promise<Decided>, { what, one, other, form: how }: Two): Promise<void> {
  const a = asking(what, one, how)
  const b = asking({ ...what, query: [] }, { ...other, headers: [] }, how)
  const added = b.headers.filter((header) => !a.headers.some(([name, value]) => name === header[0] && value === header[1]))
  const moreQuery = other.kind === 'query' ? b.query.slice(1) : ''
  const asked = {
    ...a,
    headers: [...a.headers, ...added],
    query: moreQuery === '' ? a.query : `${a.query === '' ? '?' : `${a.query}&`}${moreQuery}`,
    verified: { ...a.verified, ...b.verified },
  }
  const inAuthorization = (who: Presented) => !['cookie', 'query', 'websocket', 'key-header'].includes(who.kind)
  const secretOf = ({ kind, payload, by, secret, user }: Presented) =>
    payload === undefined ? `${kind === 'basic' ? user : ''}${secret}` : `${kind === 'basic' ? user : ''}${payload}${by}`
  // The same one in two places is one; a JWT is signed anew for each, so that two of the same payload differ too.
  if (secretOf(one) === secretOf(other) && one.payload === undefined && (one.kind === 'basic') === (other.kind === 'basic')) return
  const { allowed, who, reason } = await decide(asked)
  if (!allowed || who['subject'] === undefined) return
  // `authorization: keep` leaves that header to the upstream: the other one is alone.
  if (who['route'] === 'console' && inAuthorization(one) !== inAuthorization(other)) return
  assert.fail(`two credentials were admitted (${reason}): ${JSON.stringify(asked)}\n${JSON.stringify(who)}`)
}

interface Told {
  readonly what: Wanted
  readonly shown: Presented
  readonly verified: Presented
  readonly writing: Pick<Writing, 'scheme' | 'gap' | 'after'>
  readonly form: Asked['form']
}
const ofUsers = presented.filter(({ kind, by }) => kind === 'users' && by === 'issuer')
const told: fc.Arbitrary<Told> = fc.record({
  what: wanted,
  shown: ofUsers,
  verified: ofUsers,
  writing: fc.oneof(
    { weight: 3, arbitrary: fc.constant({ scheme: 'Bearer', gap: ' ', after: '' }) },
    fc.record({
      scheme: fc.constantFrom('Bearer', 'bearer', 'Basic eDp5, Bearer', 'x Bearer', ''),
      gap: fc.constantFrom(' ', '  '),
      after: fc.constantFrom('', ' ', '=', ', x'),
    }),
  ),
  form,
})

/** Envoy finds a token in more than one spelling of `Authorization`: its word counts for the token that stands there, plainly. */
async function judgeTold(decide: (asked: Asked) => Promise<Decided>, { what, shown, verified, writing, form: how }: Told): Promise<void> {
  const asked = { ...asking(what, shown, how, { ...usual, ...writing }), verified: { users: parsed(verified.payload ?? '') } }
  const { allowed, who } = await decide(asked)
  if (!allowed || who['subject'] === undefined) return
  const plain = writing.scheme === 'Bearer' && writing.gap === ' ' && writing.after === ''
  assert.ok(plain && shown.payload === verified.payload, `Envoy's word was taken for another token: ${JSON.stringify(asked)}`)
}

/** The whole way of a request, from its bytes to the answer. */
export const pipelineProperties: readonly Property[] = [
  ofPipeline('pipeline: no other spelling is allowed what was denied, or is another person, route or resource', pair, judgePair, {
    weight: 100,
    few: 4000,
  }),
  ofPipeline('pipeline: nothing that a client made up, and no credential, goes on to the upstream', sent, judgeSent, {
    weight: 30,
    few: 1000,
  }),
  ofPipeline('pipeline: two credentials that differ admit nobody', two, judgeTwo, { weight: 20, few: 800 }),
  ofPipeline("pipeline: Envoy's word counts for the very token that was presented", told, judgeTold, { weight: 10, few: 400 }),
]
