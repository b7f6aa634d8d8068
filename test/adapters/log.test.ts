import assert from 'node:assert/strict'
import { createAuditTrail } from '../../src/adapters/audit-trail.ts'
import { createLog } from '../../src/adapters/log.ts'
import { createLogBound } from '../../src/adapters/log-bound.ts'
import { createDecisionLog } from '../../src/adapters/log-decisions.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import { observation } from './log-observation.ts'

type Line = Record<string, unknown>

function captured(level: 'info' | 'warn' | 'silent' = 'info') {
  const [out, err]: [string[], string[]] = [[], []]
  const log = createLog({ level, out: { write: (line) => out.push(line) }, err: { write: (line) => err.push(line) } })
  const lines = (of: string[]): Line[] => of.map((text) => JSON.parse(text) as Line)
  return { log, out, err, lines }
}

describe('log', () => {
  it('writes one JSON line an event, errors to standard error only', () => {
    const { log, out, err, lines } = captured()
    log.info({ a: 1 }, 'hello')
    log.warn('careful')
    log.error({ err: new Error('broken', { cause: new Error('inner') }) }, 'failed')
    assert.deepEqual(
      lines(out).map(({ level, msg }) => [level, msg]),
      [
        ['info', 'hello'],
        ['warn', 'careful'],
      ],
    )
    assert.equal(err.length, 1)
    const [line] = lines(err)
    assert.match(String(line?.['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.equal((line!['err'] as { message: string }).message, 'broken')
    assert.equal((line!['err'] as { cause: { message: string } }).cause.message, 'inner')
  })

  it('writes no member of an error but the known ones', () => {
    const { log, err } = captured()
    log.error({ err: Object.assign(new Error('broken'), { request: { authorization: 'Bearer hidden' } }) }, 'failed')
    assert.equal(err.join('').includes('hidden'), false)
  })
})

describe('decision log', () => {
  it('holds what was decided and asked for, and no credential or query', () => {
    const { log, out, lines } = captured()
    createDecisionLog({ log, decisions: 'all' }).observe(observation({ reason: 'not_owner', detail: 'the owner is another' }))
    const [line] = lines(out)
    assert.deepEqual(
      { ...line, time: 0 },
      {
        level: 'info',
        time: 0,
        decision: 'deny',
        enforced: true,
        reason: 'not_owner',
        decision_id: '019a0000-0000-7000-8000-000000000001',
        policy: '0123456789ab',
        realm: 'default',
        owner_match: 'none',
        check_us: 42,
        cache: 'none',
        route: 'invoke',
        subject: 'alice%0Aforged%20line',
        issuer: 'https://idp.example',
        roles: 'sandbox:invoke',
        workload: 'spiffe://cluster.local/ns/a/sa/b',
        resource: 'sandbox:s1',
        detail: 'the owner is another',
        method: 'GET',
        host: 'api.example',
        path: '/v1/sandboxes/s1',
        msg: 'check',
      },
    )
    assert.equal(out.join('').includes('hidden'), false)
  })

  it('keeps a hostile path on its line, bounded, without query or fragment', () => {
    const { log, out, lines } = captured()
    const { observe } = createDecisionLog({ log, decisions: 'denials' })
    observe(observation({ reason: 'bad_request', path: '/a\n{"level":"fatal"}\u2028é%2f#access_token=x' }))
    observe(observation({ reason: 'bad_request', path: `/${'x'.repeat(9000)}` }))
    assert.equal(lines(out)[0]?.['path'], '/a%0A{"level":"fatal"}%E2%80%A8%C3%A9%2f')
    assert.ok(String(lines(out)[1]?.['path']).length < 2100)
    assert.ok(out.every((line) => line.indexOf('\n') === line.length - 1))
  })

  it('follows log.decisions, whatever log.level is, and tells failures as errors', () => {
    for (const [decisions, expected] of [
      ['none', 0],
      ['denials', 1],
      ['all', 2],
    ] as const) {
      const { log, out, err } = captured('warn')
      const { observe } = createDecisionLog({ log, decisions })
      observe(observation())
      observe(observation({ reason: 'missing_role' }))
      observe(observation({ reason: 'internal' }))
      assert.equal(out.length, expected, decisions)
      assert.equal(err.length, decisions === 'none' ? 0 : 1)
    }
  })

  it('counts a flood of denials and says how many', () => {
    const { log, out, lines } = captured()
    const decisionLog = createDecisionLog({ log, decisions: 'all', denialsPerSecond: 10 })
    for (let i = 0; i < 1000; i++) decisionLog.observe(observation({ reason: 'no_route' }))
    decisionLog.observe(observation())
    assert.equal(out.length, 11)
    decisionLog.close()
    assert.equal(lines(out).at(-1)?.['suppressed'], 990)
  })
})

describe('log bound', () => {
  it('opens again in the next second and tells the count of the last', () => {
    let now = 0
    const told: number[] = []
    const bound = createLogBound(
      2,
      (n) => told.push(n),
      () => now,
    )
    assert.deepEqual([bound.admits(), bound.admits(), bound.admits(), bound.admits()], [true, true, false, false])
    now = 1000
    assert.equal(bound.admits(), true)
    assert.deepEqual(told, [2])
    bound.close()
    assert.deepEqual(told, [2])
  })
})

describe('audit trail', () => {
  const trail = (decisions: 'none' | 'denials' | 'all', denialsPerSecond?: number) => {
    const events: AuditEvent[] = []
    let n = 0
    const { observe, close } = createAuditTrail({
      sink: { append: (event) => events.push(event) },
      decisions,
      newId: () => `id-${++n}`,
      realm: 'default',
      ...(denialsPerSecond === undefined ? {} : { denialsPerSecond }),
    })
    return { observe, close, events }
  }

  it('records a denial with who, what and why, and no credential', () => {
    const { observe, events } = trail('denials')
    observe(observation({ reason: 'not_owner' }))
    assert.deepEqual(events, [
      {
        id: 'id-1',
        time: '2023-11-14T22:13:20.000Z',
        type: 'decision',
        outcome: 'deny',
        realm: 'default',
        reason: 'not_owner',
        decisionId: '019a0000-0000-7000-8000-000000000001',
        actor: 'alice\nforged line',
        target: 'invoke',
        detail: {
          policy: '0123456789ab',
          enforced: true,
          method: 'GET',
          workload: 'spiffe://cluster.local/ns/a/sa/b',
          resource: 'sandbox:s1',
          issuer: 'https://idp.example',
          why: 'why it was denied',
        },
      },
    ])
    assert.equal(JSON.stringify(events).includes('hidden'), false)
  })

  it('follows the route, and the policy where no route was reached', () => {
    const { observe, events } = trail('none')
    observe(observation({ audit: 'all' }))
    observe(observation({ audit: 'denials' }))
    observe(observation({ audit: 'none', reason: 'missing_role' }))
    observe(observation({ withoutRoute: true, reason: 'no_route' }))
    assert.deepEqual(
      events.map(({ outcome }) => outcome),
      ['allow'],
    )
  })

  it('records what was not enforced as a denial', () => {
    const { observe, events } = trail('denials')
    observe(observation({ reason: 'missing_role', unenforced: true }))
    assert.equal(events[0]?.outcome, 'deny')
    assert.equal(events[0]?.detail?.['enforced'], false)
  })

  it('makes one counted event of a flood', () => {
    const { observe, close, events } = trail('denials', 5)
    for (let i = 0; i < 100; i++) observe(observation({ reason: 'no_route', withoutRoute: true }))
    close()
    assert.equal(events.length, 6)
    assert.deepEqual(events.at(-1)?.detail, { count: 95 })
  })

  it('records 200 denials a second, unless told otherwise', () => {
    const { observe, close, events } = trail('denials')
    for (let i = 0; i < 250; i++) observe(observation({ reason: 'no_route', withoutRoute: true }))
    close()
    assert.equal(events.length, 201)
  })
})
