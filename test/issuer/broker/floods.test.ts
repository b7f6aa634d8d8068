import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type BoundedTrail, boundTrail } from '../../../src/compose/bounded-trail.ts'
import type { AuditEvent } from '../../../src/core/audit-event.ts'
import { Unavailable } from '../../../src/core/ports.ts'
import { agentKeys, agentOf, type BrokerClient, brokerClient, brokerPolicy } from '../../support/broker.ts'
import { freePorts } from '../../support/free-port.ts'
import { type RunningPostern, startPostern } from '../../support/postern.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

type Told = Pick<AuditEvent, 'type' | 'outcome' | 'reason'> & { readonly detail?: { readonly suppressed?: number } }

/** How many happened, by what the trail tells of them. */
const happened = (events: readonly Told[]): number =>
  events.reduce((sum, { reason, detail }) => sum + (reason === 'counted' ? 0 : 1) + (detail?.suppressed ?? 0), 0)

describe('floods of failures in the audit trail', () => {
  const event = (type: AuditEvent['type'], outcome: AuditEvent['outcome'], reason?: string): AuditEvent => ({
    id: 'e',
    time: '2026-01-01T00:00:00.000Z',
    realm: 'default',
    type,
    outcome,
    ...(reason !== undefined && { reason }),
  })
  const faults: unknown[] = []
  const open = (commit: (event: AuditEvent) => Promise<void>): BoundedTrail =>
    boundTrail({ audit: { commit }, newId: () => 'made', realm: 'default', onFault: (cause) => faults.push(cause) })

  it('are counted, by type and reason, and told in full', async () => {
    const written: AuditEvent[] = []
    const trail = open(async (one) => void written.push(one))
    for (let n = 0; n < 500; n++) await trail.commit(event('agent_registered', 'failure', 'unknown_launch_token'))
    await trail.commit(event('agent_registered', 'failure', 'scope_outside_ceiling'))
    await trail.commit(event('app_login', 'failure', 'invalid_client'))
    assert.ok(written.length < 30, `${written.length} were written`)
    assert.deepEqual(
      written.slice(-2).map(({ type, reason, detail }) => [type, reason, detail]),
      [
        ['agent_registered', 'scope_outside_ceiling', undefined],
        ['app_login', 'invalid_client', undefined],
      ],
    )
    await trail.close()
    assert.equal(happened(written as Told[]), 502)
    const counted = written.at(-1)!
    assert.deepEqual([counted.type, counted.outcome, counted.reason, counted.realm], ['agent_registered', 'failure', 'counted', 'default'])
    assert.equal(counted.detail?.['reason'], 'unknown_launch_token')
  })

  it('hide nothing that succeeded, and nothing of another type', async () => {
    const written: AuditEvent[] = []
    const trail = open(async (one) => void written.push(one))
    for (const type of ['agent_registered', 'app_login', 'admin_login', 'launch_token_created', 'token_refused'] as const)
      for (let n = 0; n < 100; n++) await trail.commit(event(type, 'success', 'x'))
    for (let n = 0; n < 100; n++) await trail.commit(event('owner_changed', 'failure'))
    for (let n = 0; n < 100; n++) await trail.commit(event('decision', 'deny', 'x'))
    await trail.close()
    assert.equal(written.length, 700)
    assert.ok(written.every(({ detail }) => detail === undefined))
  })

  it('are no way around a trail that cannot be written to', async () => {
    const trail = open(async () => {
      throw new Unavailable('state is away')
    })
    await assert.rejects(trail.commit(event('app_login', 'failure', 'invalid_client')), Unavailable)
    for (let n = 0; n < 30; n++) await trail.commit(event('app_login', 'failure', 'invalid_client')).catch(() => {})
    await trail.close()
    assert.ok(faults.at(-1) instanceof Unavailable)
  })
})

describe('a flood at the running service, from many addresses', function () {
  this.timeout(60_000)
  const folder = temporaryFolder()
  let postern: RunningPostern
  let broker: BrokerClient
  let admin: BrokerClient

  before(async () => {
    const [adminPort = 0, issuerPort = 0] = await freePorts(2)
    postern = await startPostern(
      brokerPolicy({ admin: adminPort, issuer: issuerPort, folder: folder.path, state: `file:${folder.path}/state.db` }),
      { folder },
    )
    broker = brokerClient(`http://127.0.0.1:${issuerPort}`)
    admin = brokerClient(`http://127.0.0.1:${adminPort}`)
  })
  after(async () => {
    await postern?.stop()
    folder.remove()
  })

  const keys = agentKeys()
  const registration = {
    launch_token: '0'.repeat(64),
    nonce: 'n'.repeat(75),
    public_key: keys.publicKey,
    signature: keys.sign('n'),
    orch_id: 'o',
    task_id: 't',
    requested_scope: ['read:data:x'],
  }
  const floods = [
    ['agent_registered', 401, (from: string) => broker.ask('POST', '/v1/register', registration, undefined, from)],
    ['app_login', 401, (from: string) => broker.ask('POST', '/v1/app/auth', { client_id: 'app-1', client_secret: 'x' }, undefined, from)],
    ['admin_login', 401, (from: string) => broker.ask('POST', '/v1/admin/auth', { secret: 'x' }, undefined, from)],
    ['admin_login', 401, (from: string) => admin.ask('POST', '/v1/admin/auth', { secret: 'x' }, undefined, from)],
  ] as const

  for (const [index, [type, status, ask]] of floods.entries())
    it(`writes few events ${type}, and says how many there were (${index + 1})`, async () => {
      const token = await admin.login()
      const failures = async (): Promise<Told[]> =>
        (await admin.ask('GET', `/v1/audit/events?event_type=${type}&outcome=failure&limit=1000`, undefined, token)).json[
          'events'
        ] as Told[]
      const before = await failures()
      const addresses = Array.from({ length: 20 }, (_, n) => `127.0.${index + 1}.${n + 1}`)
      const times = 10
      for (const from of addresses)
        for (const answer of await Promise.all(Array.from({ length: times }, () => ask(from)))) assert.equal(answer.status, status)
      // One more is written a while later, and says how many were not.
      await sleep(700)
      await ask('127.0.0.9')
      const after = await failures()
      assert.equal(happened(after) - happened(before), addresses.length * times + 1)
      assert.ok(after.length - before.length < 40, `${after.length - before.length} events`)
    })

  it('leaves whoever does it right alone', async () => {
    const token = await admin.login()
    const agents = await Promise.all(Array.from({ length: 5 }, () => agentOf(broker, token)))
    const { json } = await admin.ask('GET', '/v1/audit/events?event_type=agent_registered&outcome=success&limit=100', undefined, token)
    const actors = new Set((json['events'] as AuditEvent[]).map(({ actor }) => actor))
    for (const { id } of agents) assert.ok(actors.has(id))
  })
})
