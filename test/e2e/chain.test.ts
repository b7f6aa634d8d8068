import assert from 'node:assert/strict'
import { request } from '../support/request.ts'
import { cells, challenges, type Passwords, states, type ValidatorName, validators } from './chain-cases.ts'
import { type ChainEdge, startChainEdge } from './chain-edge.ts'

const names = Object.keys(validators) as ValidatorName[]

/** @param chain validators that the policy has, in this order */
function policyOf(chain: readonly ValidatorName[], routes: readonly string[]): string {
  const entries = names.filter((name) => chain.includes(name)).flatMap((name) => validators[name] ?? [])
  return `version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" }, issuer: { address: "@issuer@" } }
state: "file:@folder@/postern.db"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }
allow_management_plane: ${chain.includes('management-plane')}
identity:${entries.length === 0 ? ' []' : entries.map((entry) => `\n  - ${entry}`).join('')}
routes:
${routes.map((route) => `  - ${route}`).join('\n')}
`
}

/** What has to be there for one validator to admit anybody: basic hands on to another. */
const withItsOwn = (name: ValidatorName): ValidatorName[] => (name === 'passwords' ? ['here', 'passwords'] : [name])
const without = (name: ValidatorName): ValidatorName[] => names.filter((other) => other !== name)

const all = policyOf(names, [
  '{ id: all, path: /all }',
  ...names.map((name) => `{ id: only-${name}, path: /only/${name}, identity: [${withItsOwn(name).join(', ')}] }`),
  ...names.map((name) => `{ id: without-${name}, path: /without/${name}, identity: [${without(name).join(', ')}] }`),
])

describe('each validator with each kind of credential, through Envoy', function () {
  this.timeout(60_000)
  let edge: ChainEdge
  before(async () => {
    edge = await startChainEdge(all)
  })
  after(() => edge?.stop())

  /** Status and reason, or the subject; a denial's challenge has to be right to the letter. */
  async function outcome(path: string, validator: ValidatorName, state: (typeof states)[number], passwords: Passwords): Promise<string> {
    const { headers, as } = edge.credentials[validator][state]
    const answer = await request({ port: edge.port, tls: edge.tls(as), path, headers: headers ?? {} }).catch(() => undefined)
    if (answer === undefined) return 'refused'
    const body = JSON.parse(answer.body) as { reason?: string; headers?: Record<string, string> }
    if (answer.status === 200) return `200 ${body.headers?.['x-postern-subject']}`
    const challenge = challenges[passwords][body.reason === 'no_credential' ? 'nothing presented' : 'refused']
    assert.equal(answer.headers['www-authenticate'], challenge)
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    return `${answer.status} ${body.reason}`
  }

  it('there is a cell for each', () => {
    assert.deepEqual(
      cells.map(({ validator, state }) => `${validator} ${state}`).sort(),
      names.flatMap((name) => states.map((state) => `${name} ${state}`)).sort(),
    )
  })

  describe('in a chain of all', () => {
    for (const { validator, state, what, alone, all = alone } of cells)
      it(`${validator}, ${state} (${what}): ${all}`, async () => assert.equal(await outcome('/all', validator, state, 'too'), all))
  })

  describe('on a route that names it', () => {
    for (const { validator, state, what, alone, only = alone } of cells)
      it(`${validator}, ${state} (${what}): ${only}`, async () => {
        assert.equal(await outcome(`/only/${validator}`, validator, state, validator === 'passwords' ? 'alone' : 'no'), only)
      })
  })

  describe('on a route that names all others', () => {
    for (const { validator, state, what, without } of cells)
      it(`${validator}, ${state} (${what}): ${without}`, async () => {
        assert.equal(await outcome(`/without/${validator}`, validator, state, validator === 'passwords' ? 'no' : 'alone'), without)
      })
  })

  for (const validator of names) {
    describe(`alone: ${validator}`, () => {
      before(() => edge.take(policyOf(withItsOwn(validator), ['{ id: all, path: /all }'])))
      for (const { state, what, alone } of cells.filter((cell) => cell.validator === validator))
        it(`${state} (${what}): ${alone}`, async () => {
          assert.equal(await outcome('/all', validator, state, validator === 'passwords' ? 'too' : 'no'), alone)
        })
    })
  }

  describe('alone: none', () => {
    before(() => edge.take(policyOf([], ['{ id: all, path: /all }'])))
    for (const validator of names)
      it(`nobody is admitted, whatever ${validator} would say`, async () => {
        assert.match(await outcome('/all', validator, 'valid', 'no'), /^401 no_(?:credential|validator_admitted)$/)
      })
  })
})
