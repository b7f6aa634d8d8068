import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createFingerprint, newFingerprintKey } from '../../src/adapters/fingerprint.ts'
import { createLog } from '../../src/adapters/log.ts'
import { createMetrics } from '../../src/adapters/metrics.ts'
import { createRejectionLog } from '../../src/compose/rejections.ts'
import type { DenyReason } from '../../src/core/reasons.ts'
import type { Rejection } from '../../src/stages/identify.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

const aRejection = (validator: string, reason: DenyReason, credential: string): Rejection => ({
  ...{ validator, reason, detail: 'the signature does not verify', route: 'plain' },
  ...{ path: `/plain?access_token=${credential}`, digest: credential === '' ? '' : sha256(credential) },
})

type Line = Readonly<Record<string, unknown>>

function recording(key = newFingerprintKey()) {
  const written: string[] = []
  const log = createLog({ level: 'info', out: { write: (text) => void written.push(text) } })
  const metrics = createMetrics({ version: '1.0.0', processMetrics: false })
  const rejections = createRejectionLog({ log, count: metrics.rejection, fingerprint: createFingerprint(key) })
  const counted = async (): Promise<string[]> =>
    (await metrics.expose()).split('\n').filter((line) => line.startsWith('postern_rejections_total{'))
  return { rejections, counted, text: () => written.join(''), lines: () => written.map((text) => JSON.parse(text) as Line) }
}

describe('rejection telemetry', () => {
  it('tells each rejection once: reason, validator, route, path without its query, and a name for the credential', () => {
    const { rejections, lines } = recording()
    rejections.observe(aRejection('users', 'invalid_credential', 'hunter2'))
    const { time, credential, ...line } = lines()[0]!
    assert.deepEqual(line, {
      ...{ level: 'info', validator: 'users', reason: 'invalid_credential', detail: 'the signature does not verify' },
      ...{ route: 'plain', path: '/plain', msg: 'credential rejected' },
    })
    assert.match(String(credential), /^[0-9a-f]{16}$/)
  })

  it('names the same credential alike, another one otherwise, and neither by anything that could be guessed at', () => {
    const { rejections, lines } = recording()
    for (const credential of ['hunter2', 'hunter2', 'hunter3']) rejections.observe(aRejection('users', 'invalid_credential', credential))
    const [first, second, third] = lines().map(({ credential }) => String(credential))
    assert.equal(first, second)
    assert.notEqual(first, third)
    // After a start it has another name: what an old log holds cannot be compared with a guess.
    const again = recording()
    again.rejections.observe(aRejection('users', 'invalid_credential', 'hunter2'))
    assert.notEqual(again.lines()[0]?.['credential'], first)
    assert.equal(sha256('hunter2').includes(first!) || sha256(sha256('hunter2')).includes(first!), false)
  })

  it('gives no name where no credential was presented but Envoy’s word or a certificate', () => {
    const { rejections, lines } = recording()
    rejections.observe(aRejection('mesh', 'invalid_credential', ''))
    assert.equal('credential' in lines()[0]!, false)
  })

  it('names credentials alike in processes that share the key', () => {
    const key = newFingerprintKey()
    const names = [recording(key), recording(key)].map(({ rejections, lines }) => {
      rejections.observe(aRejection('users', 'invalid_credential', 'hunter2'))
      return lines()[0]?.['credential']
    })
    assert.equal(names[0], names[1])
  })

  it('bounds what 100,000 rejections write, counts every one, and still shows each kind', async () => {
    const { rejections, counted, lines, text } = recording()
    const began = performance.now()
    for (let i = 0; i < 100_000; i++) {
      rejections.observe(aRejection('users', 'invalid_credential', `secret-${i}`))
      // The first of a quiet kind in the middle of the flood.
      if (i === 50_000) rejections.observe(aRejection('', 'no_validator_admitted', 'secret-odd'))
      if (i % 20_000 === 19_999) rejections.observe(aRejection('keys', 'expired_credential', `secret-${i}`))
    }
    const seconds = (performance.now() - began) / 1000
    rejections.close()
    const all = lines()
    assert.ok(all.length <= 20 + 2 * seconds + 6 + 1, `${all.length} lines in ${seconds} s`)
    const of = (validator: string) => all.filter((line) => line['validator'] === validator && line['msg'] === 'credential rejected').length
    assert.deepEqual([of(''), of('keys')], [1, 5])
    assert.deepEqual(
      (await counted()).sort(),
      [
        'postern_rejections_total{validator="",reason="no_validator_admitted"} 1',
        'postern_rejections_total{validator="keys",reason="expired_credential"} 5',
        'postern_rejections_total{validator="users",reason="invalid_credential"} 100000',
      ].sort(),
    )
    // Written and told as suppressed together are all.
    const suppressed = all.reduce((sum, line) => sum + Number(line['suppressed'] ?? 0), 0)
    assert.equal(of('users') + suppressed, 100_000)
    assert.equal(all.filter(({ msg }) => String(msg).includes('counted, not written')).length, 1)
    assert.equal(/secret-/.test(text()), false)
  })

  it('bounds kinds too: a policy that changes again and again makes no endless list', async () => {
    const { rejections, counted, lines } = recording()
    for (let i = 0; i < 5000; i++) rejections.observe(aRejection(`validator-${i}`, 'invalid_credential', 'x'))
    assert.ok(lines().length <= 100 + 20 + 5)
    const series = await counted()
    assert.equal(series.length, 201)
    assert.ok(series.includes('postern_rejections_total{validator="other",reason="other"} 4800'))
    rejections.close()
  })
})
