import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import type { Grants } from '../../../src/issuer/grants.ts'
import {
  certificates,
  clientOf,
  openRig,
  type Params,
  type ProofSpec,
  type Rig,
  type RigOptions,
  type TokenSpec,
  thumbprint,
  typeUri,
} from './rig.ts'

type Loose = Readonly<Record<string, unknown>>

interface Case {
  readonly name: string
  readonly grant?: keyof Grants
  readonly rig?: RigOptions
  /** Over the table's client; `exchange` is merged too, and `null` takes it away. */
  readonly client?: Loose
  readonly subject?: TokenSpec | null
  readonly actor?: TokenSpec
  readonly params?: Readonly<Record<string, string | readonly string[] | null>>
  readonly proof?: ProofSpec
  readonly certificate?: keyof typeof certificates
  /** Revoked before. */
  readonly revoked?: readonly { readonly level: Parameters<Rig['revoke']>[0]; readonly target: string; readonly at?: number }[]
  /** Seconds that the clock of whoever asks is later than that of whoever made the tokens. */
  readonly at?: number
  /** `unavailable`: the grant rejects; else what the answer is to hold, `null` what not. */
  readonly answer: Loose | 'unavailable'
  /** Claims of the access token. */
  readonly token?: Loose
  /** The last event of the trail. */
  readonly audit?: Loose
}

interface Table {
  readonly grant: keyof Grants
  readonly client: Loose
  readonly subject?: TokenSpec
  readonly cases: readonly Case[]
}

const folder = fileURLToPath(new URL('cases/', import.meta.url))

/** `$jkt:a` and `$cert:mine` stand for what is made when the tests run. */
const filled = (value: unknown): unknown => {
  if (typeof value === 'string') {
    const [, kind, name] = /^\$(jkt|cert):(\w+)$/.exec(value) ?? []
    return kind === 'jkt' ? thumbprint(name as 'a') : kind === 'cert' ? certificates[name as 'mine'] : value
  }
  if (Array.isArray(value)) return value.map(filled)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, filled(member)]))
}

/** What is asked for has to be there to the letter, `null` must be absent; the rest may be anything. */
function holds(actual: unknown, expected: unknown, at: string): void {
  if (expected === null) assert.equal(actual, undefined, `${at} is there`)
  else if (Array.isArray(expected) || typeof expected !== 'object') assert.deepEqual(actual, expected, at)
  else {
    assert.ok(typeof actual === 'object' && actual !== null, `${at} is missing`)
    for (const [key, value] of Object.entries(expected)) holds((actual as Loose)[key], value, `${at}.${key}`)
  }
}

const payloadOf = (token: unknown): Loose => JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString()) as Loose
const headerOf = (token: unknown): Loose => JSON.parse(Buffer.from(String(token).split('.')[0] ?? '', 'base64url').toString()) as Loose

async function run(table: Table, one: Case): Promise<void> {
  const rig = await openRig(one.rig)
  try {
    const grant = one.grant ?? table.grant
    const { exchange, ...rest } = { ...table.client, ...one.client } as Loose
    const whole = { ...(table.client['exchange'] as Loose), ...(exchange as Loose) }
    const client = clientOf({ ...rest, exchange: exchange === null || exchange === undefined ? undefined : whole })
    for (const { level, target, at } of one.revoked ?? []) await rig.revoke(level, target, at)
    const tokens: Record<string, string> = {}
    const subject =
      one.subject === null
        ? undefined
        : one.subject && { ...table.subject, ...one.subject, claims: { ...sameSource(table.subject, one.subject), ...one.subject.claims } }
    const shown = one.subject === null ? undefined : (subject ?? table.subject)
    if (shown) {
      tokens['subject_token'] = rig.token(filled(shown) as TokenSpec)
      tokens['subject_token_type'] = typeUri.access_token
    }
    if (one.actor) {
      tokens['actor_token'] = rig.token(filled(one.actor) as TokenSpec)
      tokens['actor_token_type'] = typeUri.jwt
    }
    const params = Object.fromEntries(Object.entries({ ...tokens, ...one.params }).filter(([, value]) => value !== null)) as Params
    const dpop = one.proof && rig.proof(one.proof, one.proof.nonce ? rig.nonce() : undefined)
    const asking = rig.ask(grant, client, params, { dpop, certificate: one.certificate && certificates[one.certificate], at: one.at ?? 0 })
    if (one.answer === 'unavailable') {
      await assert.rejects(asking, { name: 'Unavailable' })
      return
    }
    const answer = await asking
    const told = answer.kind === 'granted' ? answer.body : answer
    if (answer.kind === 'refused' && one.answer['error'] === undefined) {
      const [event] = (await rig.events()).slice(-1)
      assert.fail(`refused: ${answer.error}: ${answer.description} (${JSON.stringify(event)})`)
    }
    holds(told, filled(one.answer), 'answer')
    const written = JSON.stringify([await rig.events(), answer.kind === 'refused' ? answer : ''])
    for (const secret of [...Object.values(tokens), ...(answer.kind === 'granted' ? [String(answer.body['access_token'])] : [])])
      if (secret.includes('.') && secret !== 'not.a.token')
        assert.ok(!written.includes(secret), 'a token stands in the trail or in the answer')
    if (one.token && answer.kind === 'granted') {
      const claims = payloadOf(answer.body['access_token'])
      const life = Number(claims['exp']) - Number(claims['iat'])
      holds({ ...claims, life, typ: headerOf(answer.body['access_token'])['typ'] }, filled(one.token), 'token')
    }
    if (one.audit) holds((await rig.events()).at(-1), filled(one.audit), 'audit')
    if (answer.kind === 'refused')
      holds((await rig.events()).at(-1), { type: 'token_refused', outcome: 'failure', actor: client.id }, 'audit')
  } finally {
    await rig.close()
  }
}

const sameSource = (usual: TokenSpec | undefined, one: TokenSpec): Loose => (usual && usual.from === one.from ? (usual.claims ?? {}) : {})

describe('grants', () => {
  let count = 0
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.yaml'))) {
    describe(file.replace('.yaml', '').replaceAll('-', ' '), () => {
      const table = parse(readFileSync(folder + file, 'utf8')) as Table
      for (const one of table.cases) {
        count++
        it(one.name, () => run(table, one))
      }
    })
  }
  it('are tried in more than eighty cases', () => assert.ok(count > 80, `${count} cases`))
})
