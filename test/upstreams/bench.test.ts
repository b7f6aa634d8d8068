import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { edgeConfig, ways } from '../../bench/upstreams/envoy.ts'
import { policyText, secretVariable } from '../../bench/upstreams/policy.ts'
import { type Round, report } from '../../bench/upstreams/report.ts'
import { readPolicy } from '../../src/config/read.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

describe('the benchmark of upstreams', () => {
  it('compares within rounds, and adds start and first byte of each sandbox', () => {
    const times = (by: number) => ({ listened: [100 * by, 100 * by], first: [10 * by, 30 * by], second: [1, 1] })
    const round = (slow: number): Round => ({ mtls: times(2 * slow), jwt: times(slow) })
    const rows = report([round(1), round(3), round(7)])
      .split('\n')
      .filter((line) => line.startsWith('| mTLS'))
      .map((line) => line.split('|').map((cell) => cell.trim()))
    assert.deepEqual(
      rows.map((cells) => [cells[2], cells[7]]),
      [
        ['6', '2.00 (2.00–2.00)'],
        ['6', '1.00 (1.00–1.00)'],
        ['6', '2.00 (2.00–2.00)'],
        ['6', '2.00 (2.00–2.00)'],
      ],
    )
    // Of 220, 260, 660, 780, 1540 and 1820 ms.
    assert.equal(rows[3]?.[3], '720.00')
  })

  it('differs in the connection alone', () => {
    const config = edgeConfig({ port: 1, admin: '/a', socket: '/s', certificates: '/c' }) as {
      static_resources: { clusters: { name: string }[] }
    }
    const [, mtls, jwt] = config.static_resources.clusters as [object, Record<string, unknown>, Record<string, unknown>]
    const { transport_socket: tls, name, ...rest } = mtls
    assert.deepEqual({ ...rest, name: 'picod_jwt' }, jwt)
    assert.equal(name, 'picod_mtls')
    assert.ok(JSON.stringify(tls).includes('sa/picod'))
  })

  it('has a policy that Postern takes', async () => {
    const folder = temporaryFolder('bench')
    try {
      const file = folder.file('postern.yaml')
      writeFileSync(file, policyText('/run/x.sock', 9192, 9193), { mode: 0o600 })
      const read = await readPolicy({ file, env: { [secretVariable]: randomBytes(32).toString('hex') } })
      assert.ok(read.ok, JSON.stringify(read))
      assert.deepEqual(
        read.loaded.policy.routes.routes.map(({ id, owner }) => [id, owner?.direct]),
        ways.map((id) => [id, true]),
      )
    } finally {
      folder.remove()
    }
  })
})
