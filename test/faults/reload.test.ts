import assert from 'node:assert/strict'
import { readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readPolicy } from '../../src/config/read.ts'
import { type AdminClient, adminClient } from '../support/admin.ts'
import type { AccessLogLine } from '../support/envoy.ts'
import { startPostern } from '../support/postern.ts'
import { request } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { type FaultEdge, policyOf, secrets, startFaultEdge } from './edge.ts'
import { startLoad } from './load.ts'

const reloads = 1000
/** Requests a second. */
const rate = 200
const run = '/v1/sandboxes/s1/run'

describe('a policy that is reloaded', function () {
  this.timeout(120_000)
  let edge: FaultEdge
  let admin: AdminClient
  let headers: Record<string, string>
  /** The file's text where its own route is named by `turn`. */
  let textOf: (turn: number) => string
  const scratch = temporaryFolder()

  before(async () => {
    const template = policyOf('reload.yaml', {})
    let filled = ''
    edge = await startFaultEdge(template, (policy) => {
      filled = policy
      return startPostern(policy.replace('@turn@', '0'), { env: secrets })
    })
    textOf = (turn) => filled.replace('@turn@', String(turn))
    admin = await adminClient(edge.at.admin)
    await admin.setOwner('sandbox', 's1', 'alice')
    headers = { authorization: `Bearer ${await edge.token('alice')}` }
  })
  after(async () => {
    await edge?.stop()
    scratch.remove()
  })

  /** The revision that a text has: that of its content under its name, wherever it lies. */
  async function revisionOf(text: string): Promise<string> {
    const file = scratch.file(basename(edge.postern.config))
    writeFileSync(file, text, { mode: 0o600 })
    const result = await readPolicy({ file, env: { ...process.env, ...secrets } })
    assert.ok(result.ok, JSON.stringify(result))
    return result.loaded.revision
  }

  /** Waits for "policy in force" among the log lines, reading each line once. */
  function follower(): (revision: string) => Promise<number> {
    const lines = edge.postern.program.stdout
    let next = lines.length
    return async (revision) => {
      const end = performance.now() + 5000
      for (;;) {
        for (; next < lines.length; next++) {
          const line = lines[next]!
          if (line.includes('"policy in force"') && line.includes(`"${revision}"`)) return performance.now()
        }
        if (performance.now() > end) throw new Error(`${revision} was not in force within 5 s`)
        await sleep(2)
      }
    }
  }

  const inForce = async () => (await admin.status())['revision']

  it(`${reloads} times under load: no request fails, and each decision names a revision that was in force`, async () => {
    /** By turn. */
    const revisions = [await revisionOf(textOf(0))]
    for (let turn = 1; turn <= reloads; turn++) revisions.push(await revisionOf(textOf(turn)))
    assert.equal(new Set(revisions).size, reloads + 1)
    assert.equal(await inForce(), revisions[0], 'the test computes what the service does')

    const writtenAt = [0]
    const inForceAt = [0]
    const taken = follower()
    const began = performance.now()
    const load = startLoad(edge.port, rate, [
      { name: 'owner', path: run, headers },
      { name: 'public', path: '/healthz' },
    ])
    for (let turn = 1; turn <= reloads; turn++) {
      writtenAt.push(performance.now())
      edge.postern.rewrite(textOf(turn))
      // Looks at once, so that a thousand take seconds; without it the file is looked at a few times a second.
      edge.postern.program.signal('SIGHUP')
      inForceAt.push(await taken(revisions[turn]!))
    }
    const took = performance.now() - began
    const shots = await load.stop()
    assert.equal(await inForce(), revisions[reloads])

    assert.deepEqual(
      shots.filter(({ status }) => status !== 200),
      [],
      'no request failed',
    )
    await edge.envoy.logLine({ decision_id: shots.at(-1)!.decisionId })
    await sleep(200)
    const lines = new Map<unknown, AccessLogLine>(edge.envoy.accessLog().map((line) => [line['decision_id'], line]))
    const turnOf = new Map(revisions.map((revision, turn) => [revision, turn]))
    const seen = new Set<number>()
    for (const { ask, decisionId, sentAt, doneAt } of shots) {
      const line = lines.get(decisionId)
      assert.ok(line, 'each decision is in the access log')
      const turn = turnOf.get(String(line['policy'])) ?? assert.fail(`${line['policy']} is no revision that was written`)
      seen.add(turn)
      if (ask === 'owner') assert.equal(line['route'], `sandbox-${turn}`, 'the route is of the policy that is named')
      assert.ok(writtenAt[turn]! <= doneAt, `turn ${turn} was named before it was written`)
      // The next one was known to be in force after the request was sent, or never.
      const next = inForceAt[turn + 1]
      assert.ok(next === undefined || next >= sentAt, `turn ${turn} was named ${sentAt - next!} ms after it was replaced`)
    }
    assert.ok(shots.length > 500 && seen.size > 200, `${shots.length} requests met ${seen.size} revisions`)
    const metrics = await admin.metrics()
    assert.match(metrics, new RegExp(`^postern_policy_reloads_total\\{outcome="success"\\} ${reloads}$`, 'm'))
    assert.match(metrics, /^postern_policy_reloads_total\{outcome="refused"\} 0$/m)
    console.log(
      `      ${reloads} reloads in ${(took / 1000).toFixed(1)} s, ${shots.length} requests, none failed, ${seen.size} revisions met`,
    )
  })

  it('a broken file leaves the last good one in force, and status says what is wrong', async () => {
    const good = await inForce()
    edge.postern.rewrite(`${textOf(1)}  - { id: broken, path: no-slash, roles: [nobody] }\n`)
    const line = await edge.postern.log('the refusal', ({ msg }) => String(msg).startsWith('the changed policy is refused'))
    const sentences = (line['faults'] as string[]).join('\n')
    assert.match(sentences, /postern\.yaml:28:\d+: .*routes\[2\]\.roles\[0\]/)
    assert.match(sentences, /postern\.yaml:28:\d+: .*routes\[2\]\.path/)
    const status = await admin.status()
    assert.equal(status['revision'], good)
    assert.deepEqual((status['reload_fault'] as { sentences: string[] }).sentences, line['faults'])
    assert.equal((await request({ port: edge.port, path: run, headers })).status, 200)
    // And without a signal, the next good one is in force within 1 s.
    const next = await revisionOf(textOf(2))
    const taken = follower()
    const wroteAt = performance.now()
    edge.postern.rewrite(textOf(2))
    const ms = (await taken(next)) - wroteAt
    assert.ok(ms < 1000, `it took ${ms} ms`)
    assert.equal((await admin.status())['reload_fault'], undefined)
  })

  it('a changed listener or state is refused with the sentence that a restart is needed', async () => {
    const good = await inForce()
    const changed = textOf(3).replace('issuer: { address: "127.0.0.1:', 'issuer: { address: "127.0.0.2:').replace('postern.db', 'other.db')
    assert.notEqual(changed, textOf(3))
    edge.postern.rewrite(changed)
    const fault = await until(
      'the fault in status',
      async () => (await admin.status())['reload_fault'] as { sentences: string[] } | undefined,
    )
    assert.equal(fault.sentences.length, 2)
    for (const [i, setting] of ['listen.issuer', 'state'].entries())
      assert.match(fault.sentences[i]!, new RegExp(`"${setting}" cannot change while the service runs: restart it, or write the old value`))
    const status = await admin.status()
    assert.equal(status['revision'], good)
    // The rest of that file is not in force either: it is taken whole, or not at all.
    const response = await request({ port: edge.port, path: run, headers })
    assert.equal(response.status, 200)
    const { headers: saw } = JSON.parse(response.body) as { headers: Record<string, string> }
    assert.equal((await edge.envoy.logLine({ decision_id: saw['x-postern-decision'] }))['route'], 'sandbox-2')
  })

  it('a file that appears by a swapped link, as in a ConfigMap, is in force within 1 s', async () => {
    const folder = dirname(edge.postern.config)
    const swap = (name: string, text: string) => {
      writeFileSync(join(folder, `${name}.yaml`), text, { mode: 0o600 })
      symlinkSync(`${name}.yaml`, join(folder, '..data.new'))
      renameSync(join(folder, '..data.new'), join(folder, '..data'))
    }
    // The file becomes a link to a link, once; from then on only the second one is swapped.
    swap('first', textOf(4))
    symlinkSync('..data', `${edge.postern.config}.new`)
    renameSync(`${edge.postern.config}.new`, edge.postern.config)
    assert.equal(readFileSync(edge.postern.config, 'utf8'), textOf(4))
    const first = await revisionOf(textOf(4))
    await until('the linked policy', async () => (await inForce()) === first, 2000)
    for (const turn of [5, 6, 7]) {
      const next = await revisionOf(textOf(turn))
      const wroteAt = performance.now()
      swap(`turn-${turn}`, textOf(turn))
      await until('the swapped policy', async () => (await inForce()) === next, 2000)
      const ms = performance.now() - wroteAt
      assert.ok(ms < 1000, `it took ${ms} ms`)
    }
  })
})
