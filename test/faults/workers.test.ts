import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type AdminClient, adminClient } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { startProgram } from '../support/program.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { openAsker } from './asker.ts'
import { type FaultEdge, policyOf, secrets, startFaultEdge } from './edge.ts'
import { type Ask, type Load, type Shot, startLoad } from './load.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

interface Worker {
  readonly worker: number
  readonly pid: number
  readonly serving: boolean
  readonly since: string
  readonly connections: number
}

const runs = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('several workers behind an Envoy with two threads', function () {
  this.timeout(120_000)
  let edge: FaultEdge
  let postern: RunningPostern
  let again: () => Promise<RunningPostern>
  let policy = ''
  let admin: AdminClient
  let asks: readonly Ask[]
  const folder = temporaryFolder()
  const workers = async () => (await admin.status())['workers'] as readonly Worker[]
  const allServe = () =>
    until(
      'two workers that serve',
      async () => {
        const now = await workers()
        return now.length === 2 && now.every(({ serving }) => serving) && now
      },
      40_000,
    )
  const metric = async (name: RegExp) => {
    const lines = (await admin.metrics()).split('\n').filter((line) => name.test(line))
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }

  before(async () => {
    edge = await startFaultEdge(
      policyOf('workers.yaml', { state: `file:${folder.file('postern.db')}` }),
      async (filled) => {
        policy = filled
        again = () => startPostern(filled, { env: secrets, folder })
        postern = await again()
        return postern
      },
      2,
    )
    admin = await adminClient(edge.at.admin)
    await admin.setOwner('sandbox', 's1', 'alice')
    const bearer = async (name: string) => ({ authorization: `Bearer ${await edge.token(name)}` })
    asks = [
      { name: 'owner', path: '/v1/sandboxes/s1/run', headers: await bearer('alice') },
      { name: 'intruder', path: '/v1/sandboxes/s1/run', headers: await bearer('bob') },
      { name: 'nobody', path: '/v1/sandboxes' },
      { name: 'public', path: '/healthz' },
    ]
  })
  after(async () => {
    await postern?.stop()
    await edge?.stop()
    folder.remove()
  })

  /** No wrong allow, and nobody is told another reason than the true one. */
  const judge = (shots: readonly Shot[]): void => {
    const outcomes = (name: string) => new Set(shots.filter(({ ask }) => ask === name).map(({ status, reason }) => `${status} ${reason}`))
    const within = (name: string, expected: string) => {
      const others = [...outcomes(name)].filter((outcome) => outcome !== expected)
      // Envoy's own answer where the connection to Postern broke: denied, without a problem body.
      assert.deepEqual(
        others.filter((outcome) => outcome !== '503 no reason'),
        [],
        name,
      )
      assert.ok(outcomes(name).has(expected), `${name} was answered`)
    }
    within('owner', '200 ok')
    within('intruder', '403 not_owner')
    within('nobody', '401 no_credential')
    within('public', '200 ok')
  }
  const failed = (shots: readonly Shot[]) => shots.filter(({ reason }) => reason === 'no reason')
  const load = async (): Promise<Load> => {
    const started = startLoad(edge.port, 200, asks)
    await sleep(700)
    return started
  }

  it('answer in turn, as many connections each', async () => {
    const shots = await (await load()).stop()
    judge(shots)
    assert.deepEqual(failed(shots), [])
    const connections = (await allServe()).map((worker) => worker.connections)
    assert.ok(Math.abs(connections[0]! - connections[1]!) <= 1, connections.join())
    const answeredBy = new Set(postern.logs().flatMap(({ msg, worker }) => (msg === 'check' ? [worker] : [])))
    assert.deepEqual([...answeredBy].sort(), [1, 2])
    // Each decision is counted once, whoever made it.
    assert.equal(await metric(/^postern_checks_total\{/), shots.length)
  })

  it('one killed under load: no wrong allow, the other answers on, it is replaced, and counters do not go back', async () => {
    const [first, second] = await allServe()
    const counted = await metric(/^postern_checks_total\{/)
    const running = await load()
    const before = running.shots.length
    await metric(/^postern_checks_total\{/)
    process.kill(first!.pid, 'SIGKILL')
    await postern.log('the end of a worker', ({ msg, worker, pid }) => msg === 'a worker has ended' && worker === 1 && pid === first!.pid)
    await sleep(1500)
    const shots = await running.stop()
    judge(shots)
    const now = await allServe()
    assert.equal(now[1]!.pid, second!.pid)
    assert.notEqual(now[0]!.pid, first!.pid)
    assert.ok(before > 50)
    console.log(`      killed: ${failed(shots).length} of ${shots.length} requests denied by Envoy for the broken connection`)
    assert.ok(failed(shots).length < shots.length / 10, `${failed(shots).length} failed`)
    assert.ok((await metric(/^postern_checks_total\{/)) >= counted + before - 10)
    assert.equal(await metric(/^postern_worker_restarts_total /), 1)
  })

  it('one that ends while the policy file is broken is replaced once it is mended; the other goes on', async () => {
    const [first] = await allServe()
    const seen = postern.logs().length
    postern.rewrite(policy.replace('version: 1', 'version: 2'))
    await postern.log('the refusal', ({ msg }) => String(msg).startsWith('the changed policy is refused'))
    process.kill(first!.pid, 'SIGKILL')
    const line = await postern.log(
      'a worker that cannot start',
      ({ msg, worker }) => msg === 'a worker cannot start' && worker === 1,
      20_000,
    )
    assert.match(String((line['faults'] as string[])[0]), /version/)
    assert.equal((await fetch(`http://${edge.at.admin}/readyz`)).status, 503)
    await until('an answer', async () => (await fetch(`http://127.0.0.1:${edge.port}/healthz`)).status === 200)
    // One that would be another service altogether is no better.
    postern.rewrite(policy.replace('postern.db', 'other.db'))
    const other = (text: string) =>
      postern
        .logs()
        .slice(seen)
        .some(({ faults }) => JSON.stringify(faults ?? '').includes(text))
    await until('the refusal of another state', () => other('has changed where a running service cannot follow'), 15_000)
    assert.equal(existsSync(folder.file('other.db')), false)
    postern.rewrite(policy)
    // At once, and not only when its turn comes.
    await allServe()
    assert.equal((await fetch(`http://${edge.at.admin}/readyz`)).status, 200)
  })

  it('SIGTERM under load: all drain, nothing that was asked is lost, and the exit code is 0', async () => {
    const pids = (await allServe()).map(({ pid }) => pid)
    const running = await load()
    const askedAt = performance.now()
    postern.program.signal('SIGTERM')
    const { code, signal } = await postern.program.ended
    const endedAt = performance.now()
    assert.deepEqual([code, signal], [0, null])
    assert.deepEqual(pids.filter(runs), [])
    const shots = await running.stop()
    judge(shots)
    // Envoy opens connections anew when it is told GOAWAY: those are refused, once the listener is closed.
    const early = failed(shots).filter(({ sentAt }) => sentAt < askedAt - 20)
    assert.deepEqual(early, [])
    for (const [msg, worker] of [
      ['draining', undefined],
      ['draining', 1],
      ['draining', 2],
      ['closed', 1],
      ['closed', 2],
      ['closed', undefined],
    ])
      assert.ok(
        postern.logs().some((line) => line['msg'] === msg && line['worker'] === worker),
        `${msg} ${worker}`,
      )
    assert.ok(endedAt - askedAt < 10_000)
    postern = await again()
    admin = await adminClient(edge.at.admin)
    await until('an allow', async () => (await fetch(`http://127.0.0.1:${edge.port}/healthz`)).status === 200)
  })

  it('the primary killed: the workers end by themselves, and the next start finds a free socket', async () => {
    const pids = (await allServe()).map(({ pid }) => pid)
    const config = postern.config
    process.kill(postern.program.pid, 'SIGKILL')
    await until('the end of the workers', () => !pids.some(runs), 15_000)
    assert.ok(existsSync(config))
    postern = await again()
    admin = await adminClient(edge.at.admin)
    await until('an allow', async () => (await fetch(`http://127.0.0.1:${edge.port}/healthz`)).status === 200)
    assert.equal((await allServe()).length, 2)
  })
})

describe('the start and the end of several workers', function () {
  this.timeout(30_000)
  let folder: TemporaryFolder
  let policy: string
  let adminPort = 0
  beforeEach(async () => {
    folder = temporaryFolder()
    const [admin = 0, issuer = 0] = await freePorts(2)
    adminPort = admin
    policy = policyOf('workers.yaml', {
      check: `unix:${folder.file('check.sock')}`,
      admin: `127.0.0.1:${admin}`,
      issuer: `127.0.0.1:${issuer}`,
      state: `file:${folder.file('postern.db')}`,
    })
    writeFileSync(folder.file('postern.yaml'), policy, { mode: 0o600 })
  })
  afterEach(() => folder.remove())

  const serve = (...more: string[]) =>
    startProgram(process.execPath, [main, 'serve', '--config', folder.file('postern.yaml'), ...more], { env: secrets })

  it('what a worker cannot have refuses the start, with its sentence', async () => {
    const tls = `tls: { mode: tls, cert: "${folder.file('no.crt')}", key: "${folder.file('no.key')}" }`
    for (const file of ['no.crt', 'no.key']) writeFileSync(folder.file(file), 'no certificate', { mode: 0o600 })
    writeFileSync(folder.file('postern.yaml'), policy.replace('check.sock" }', `check.sock", ${tls} }`))
    const program = serve()
    const { code } = await program.ended
    assert.equal(code, 1, program.stderr.join('\n'))
    assert.equal(program.stderr.length, 1, program.stderr.join('\n'))
    assert.match(program.stderr[0]!, /no\.crt/)
  })

  it('a port in use refuses the start, and leaves no worker behind', async () => {
    const first = await startPostern(policy, { env: secrets, folder })
    try {
      const [admin = 0, issuer = 0] = await freePorts(2)
      const other = policy
        .replace(/(?<=admin: \{ address: ")[^"]*/, `127.0.0.1:${admin}`)
        .replace(/(?<=issuer: \{ address: ")[^"]*/, `127.0.0.1:${issuer}`)
      writeFileSync(folder.file('second.yaml'), other)
      const second = startProgram(process.execPath, [main, 'serve', '--config', folder.file('second.yaml')], { env: secrets })
      const { code } = await second.ended
      assert.deepEqual([code, second.stderr], [1, [`unix:${folder.file('check.sock')}: another process listens there`]])
    } finally {
      await first.stop()
    }
  })

  it('a worker is nothing that anybody else may start', async () => {
    const program = serve('--worker', '1')
    assert.equal((await program.ended).code, 1)
    assert.match(program.stderr.join('\n'), /workers are started by postern serve/)
  })

  it('SIGINT for the whole process group, as a terminal sends it, drains', async () => {
    const child = spawn(process.execPath, [main, 'serve', '--config', folder.file('postern.yaml')], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...secrets },
    })
    let out = ''
    child.stdout.on('data', (text) => {
      out += String(text)
    })
    try {
      await until('readiness', () =>
        fetch(`http://127.0.0.1:${adminPort}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        ),
      )
      const asker = openAsker(`unix:${folder.file('check.sock')}`)
      assert.equal(await asker.ask('/healthz'), 'ok')
      asker.close()
      const exit = once(child, 'exit')
      process.kill(-child.pid!, 'SIGINT')
      assert.deepEqual(await exit, [0, null])
      for (const worker of [1, 2]) assert.match(out, new RegExp(`"worker":${worker},"msg":"closed"`))
    } finally {
      if (child.exitCode === null) process.kill(-child.pid!, 'SIGKILL')
    }
  })

  it('SIGINT for the whole group during the start ends it without a word', async () => {
    const child = spawn(process.execPath, [main, 'serve', '--config', folder.file('postern.yaml')], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...secrets },
    })
    let err = ''
    child.stderr.on('data', (text) => {
      err += String(text)
    })
    const exit = once(child, 'exit')
    const children = `/proc/${child.pid}/task/${child.pid}/children`
    await until('a worker that starts', () => readFileSync(children, 'utf8').trim() !== '')
    process.kill(-child.pid!, 'SIGINT')
    assert.deepEqual([await exit, err], [[0, null], ''])
  })

  it('a second SIGTERM later ends all at once', async () => {
    const postern = await startPostern(policy, { env: secrets, folder })
    const admin = await adminClient(`127.0.0.1:${adminPort}`)
    const pids = ((await admin.status())['workers'] as readonly Worker[]).map(({ pid }) => pid)
    // A worker that does not answer any more.
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    const at = performance.now()
    postern.program.signal('SIGTERM')
    await sleep(1200)
    postern.program.signal('SIGTERM')
    assert.equal((await postern.program.ended).code, 1)
    assert.ok(performance.now() - at < 5000)
    await until('the end of the workers', () => !pids.some(runs))
  })

  it('a worker that hangs is left out of the metrics, and counted', async () => {
    const postern = await startPostern(policy, { env: secrets, folder })
    try {
      const admin = await adminClient(`127.0.0.1:${adminPort}`)
      const [first] = (await admin.status())['workers'] as readonly Worker[]
      process.kill(first!.pid, 'SIGSTOP')
      const at = performance.now()
      const page = await admin.metrics()
      assert.ok(performance.now() - at < 2000)
      assert.match(page, /^postern_worker_silences_total 1$/m)
      process.kill(first!.pid, 'SIGCONT')
      assert.match(await admin.metrics(), /^postern_worker_silences_total 1$/m)
    } finally {
      await postern.stop()
    }
  })
})
