import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { rawRequest, sendRaw } from '../support/raw.ts'
import { encode, type RealmsRig, startRealms, tenant } from './rig.ts'

interface Corpus {
  readonly checks: readonly {
    readonly name: string
    readonly extensions: Readonly<Record<string, string>>
    readonly path: string
    readonly headers?: Readonly<Record<string, string>>
    readonly reason: string
    readonly realm: string
  }[]
  readonly documents: readonly { readonly target: string; readonly issuer?: string }[]
}

const corpus = parse(readFileSync(new URL('./attacks.yaml', import.meta.url), 'utf8')) as Corpus

describe('several realms, attacked', function () {
  this.timeout(20_000)
  let rig: RealmsRig
  before(async () => {
    rig = await startRealms({ 'acme.yaml': tenant('acme'), 'globex.yaml': tenant('globex') })
  })
  after(() => rig?.stop())

  for (const { name, reason, realm, ...question } of corpus.checks)
    it(`decides where context_extensions has ${name}`, async () => {
      const answer = await rig.ask(question)
      assert.deepEqual([answer.reason, answer.realm], [reason, realm])
    })

  it('decides one realm alone where a message names two', async () => {
    // As protobuf joins what comes twice: the later entry of a map counts, for whoever reads it.
    const named = (realm: string) => encode({ extensions: { realm }, path: '/v1/acme' })
    for (const [first, second] of [
      ['acme', 'globex'],
      ['globex', 'acme'],
    ] as const) {
      const answer = await rig.askBytes(Buffer.concat([named(first), named(second)]))
      const path = answer.realm === 'acme' ? 'ok' : 'no_route'
      assert.ok(answer.reason === path || answer.reason === 'bad_request', JSON.stringify(answer))
    }
  })

  for (const { target, issuer } of corpus.documents)
    it(`answers ${issuer ? `for ${issuer}` : '404'} to ${target}`, async () => {
      const port = Number(rig.at.issuer.split(':')[1])
      const response = await sendRaw(port, rawRequest([`GET ${target} HTTP/1.1`, `Host: ${rig.at.issuer}`, 'Connection: close']))
      if (issuer === undefined) return assert.equal(response.status, 404, response.body)
      assert.equal(response.status, 200)
      assert.equal((JSON.parse(response.body) as { issuer: string }).issuer, `http://${rig.at.issuer}/realms/${issuer}`)
    })
})
