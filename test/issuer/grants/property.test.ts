import assert from 'node:assert/strict'
import { actorsIn, readActor } from '../../../src/core/actor.ts'
import { covers } from '../../../src/core/scopes.ts'
import { commonScopes } from '../../../src/issuer/grants/ceilings.ts'
import { clientOf, openRig, type Params, type Rig, t, typeUri } from './rig.ts'

/** A stream of numbers that is the same in each run: what fails can be found again. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const parts = ['read', 'write', 'data', 'sandbox', '*', 's1', '']
const spaces = [' ', ' ', ' ', ' ', '  ', '\t']

describe('whatever is asked', () => {
  let rig: Rig
  before(async () => {
    rig = await openRig()
  })
  after(() => rig.close())

  it('what two lists have in common is covered by both', () => {
    const next = numbers(7)
    const scopes = () =>
      Array.from({ length: next(4) }, () => Array.from({ length: 1 + next(4) }, () => parts[next(parts.length - 1)]).join(':'))
    for (let i = 0; i < 5000; i++) {
      const [one, other] = [scopes(), scopes()]
      for (const scope of commonScopes(one, other))
        assert.ok(
          [one, other].every((list) => list.some((have) => covers(have, scope))),
          `${scope} of ${one} and ${other}`,
        )
    }
  })

  it('a token is within the subject’s scopes and the client’s, ends with the subject’s, and names five actors at most', async () => {
    const next = numbers(11)
    const pick = <T>(list: readonly T[]): T => list[next(list.length)]!
    const scope = () => Array.from({ length: 1 + next(4) }, () => pick(parts)).join(':')
    const scopes = (most: number) => Array.from({ length: next(most + 1) }, scope).filter((one) => one !== '')
    const chain = (depth: number): Record<string, unknown> | undefined =>
      depth === 0 ? undefined : { sub: `a${depth}`, ...(depth > 1 && { act: chain(depth - 1) }) }
    let granted = 0
    let refused = 0
    for (let i = 0; i < 1500; i++) {
      const had = scopes(4)
      const ceiling = next(2) === 0 ? undefined : scopes(3)
      const exp = t + pick([-100, -1, 0, 1, 2, 59, 299, 300, 301, 4000])
      const asked = next(3) === 0 ? undefined : [...(next(2) === 0 ? had.slice(0, 1) : []), ...scopes(2)].join(pick(spaces))
      const audience = pick([undefined, 'picod', 'postern', 'workloadmanager', 'other', ['picod', 'postern'], ['picod', 'workloadmanager']])
      const from = pick(['users', 'edge'] as const)
      const client = clientOf({
        grants: ['token_exchange', ...(next(2) === 0 ? ['refresh_token'] : [])],
        exchange: { audiences: ['picod', 'postern', 'workloadmanager'], maxTtl: pick([1, 60, 300, 86_400]), scopes: ceiling },
      })
      const subject_token = rig.token({ from, claims: { exp, scope: had.join(' '), act: chain(next(7)) } })
      const params: Params = {
        subject_token,
        subject_token_type: typeUri.access_token,
        ...(asked !== undefined && { scope: asked }),
        ...(audience !== undefined && { audience }),
      }
      const answer = await rig.ask('token_exchange', client, params)
      if (answer.kind === 'refused') {
        refused++
        continue
      }
      granted++
      const told = JSON.stringify({ had, ceiling, asked, audience, exp })
      for (const name of ['access_token', 'refresh_token']) {
        const token = answer.body[name]
        if (token === undefined) continue
        const claims = JSON.parse(Buffer.from(String(token).split('.')[1]!, 'base64url').toString())
        assert.ok(claims.exp <= exp && claims.exp > t && claims.exp <= t + 86_400, told)
        for (const one of claims.scope?.split(' ') ?? []) {
          assert.ok(
            had.some((have) => covers(have, one)),
            `${one}: ${told}`,
          )
          assert.ok(ceiling === undefined || ceiling.some((have) => covers(have, one)), `${one}: ${told}`)
        }
        const act = readActor(claims.act)
        assert.ok(act !== 'unreadable' && actorsIn(act) <= 5 && act.subject === 'router', told)
        assert.equal(claims.cnf, undefined)
      }
    }
    assert.ok(granted > 200 && refused > 200, `${granted} granted, ${refused} refused`)
  })
})
