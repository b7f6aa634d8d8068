import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { canMeasure, cpuSeconds } from '../support/process-cost.ts'
import { decodeResponse, encodeRequest } from '../wire/support.ts'
import { startTokenIssuer, type TokenIssuer } from './overload-issuer.ts'
import { createLoad, type Load, type Shot } from './overload-load.ts'
import { say } from './say.ts'
import type { Transport } from './service.ts'

/** What Envoy's filter gives a check unless it is told otherwise. */
const deadlineMs = 200
const connections = 50
/** How many checks wait at once while it is measured what the service can do. */
const waiting = 500
const measureMs = 1_500
const pressSeconds = 2.5
/** How much more is asked then than the service can do. */
const tooMuch = 1.5
/** Not a check more in all, however fast the machine is. */
const most = 40_000
/** Of the CPU that it had while it was measured: with less, other programs have starved it, and that it is late says nothing. */
const fairShare = 0.8
/** The share of the questions that is answered within the deadline, with either answer … */
const mostInTime = 0.6
/** … and the share of what the service can do that it does. */
const workDone = 0.3

const policy = (transport: Transport, check: number, admin: number, issuer: string): string => `
version: 1
listen:
  check: { address: "127.0.0.1:${check}", transport: ${transport} }
  admin: { address: "127.0.0.1:${admin}" }
state: "memory:"
identity:
  - { name: callers, type: oidc, issuer: "${issuer}", audience: [postern], verified_by: postern, claims: { subject: sub, roles: roles }, subject_namespace: "" }
roles: { caller: {} }
routes: [{ id: closed, methods: [GET], path: "/closed/**", roles: [caller] }]
audit: { decisions: none }
log: { decisions: none }
`

/** A signature is verified for each: no two have the same token. */
const message = (token: string): Buffer =>
  encodeRequest({
    attributes: {
      request: { http: { method: 'GET', host: 'h', path: '/closed/x', headers: { ':authority': 'h', authorization: `Bearer ${token}` } } },
    },
  })

/** The share of a core that a service with too much to do takes. */
const saturated = 0.7

describe('a service that is asked more than it can do', function () {
  this.timeout(60_000)
  // Its own part of the machine changes from one second to the next.
  this.retries(2)
  let issuer: TokenIssuer
  let postern: RunningPostern
  let load: Load
  let messages: Buffer[]

  before(async function () {
    if (!canMeasure) return this.skip()
    issuer = await startTokenIssuer('postern')
    const [check = 0, admin = 0] = await freePorts(2)
    postern = await startPostern(policy('lean', check, admin, issuer.issuer))
    load = await createLoad(check, connections, `${deadlineMs}m`)
  })
  after(async () => {
    load?.close()
    await postern?.stop()
    await issuer?.stop()
  })

  let used = 0
  let minted = 0
  // A second try needs tokens that nobody has seen.
  beforeEach(() => {
    messages = Array.from({ length: most }, () => message(issuer.mint(minted++)))
    used = 0
  })
  const shoot = (shots: Shot[]): void => {
    const shot = used < most ? load.shoot(messages[used]!) : undefined
    if (shot === undefined) return
    used++
    shots.push(shot)
  }

  /** Checks a second, with `waiting` of them under way at all times. */
  async function capacity(): Promise<{ readonly rate: number; readonly share: number }> {
    const shots: Shot[] = []
    const cpu = cpuSeconds(postern.program.pid)
    const began = performance.now()
    while (performance.now() - began < measureMs) {
      while (load.open() < waiting && used < most / 3) shoot(shots)
      await sleep(1)
    }
    const done = shots.filter((shot) => outcome(shot) === 'ok').length
    const seconds = (performance.now() - began) / 1000
    const share = (cpuSeconds(postern.program.pid) - cpu) / seconds
    await load.settle(5_000)
    return { rate: done / seconds, share }
  }

  /** Asks for so much, come what may: an answer that is late does not hold up the next question. */
  async function press(perSecond: number): Promise<Pressed> {
    const shots: Shot[] = []
    const began = performance.now()
    const cpu = cpuSeconds(postern.program.pid)
    const seconds = (): number => (performance.now() - began) / 1000
    while (seconds() < pressSeconds) {
      for (let due = seconds() * perSecond; shots.length < due; ) {
        const before = shots.length
        shoot(shots)
        if (shots.length === before) break
      }
      await sleep(1)
    }
    const share = (cpuSeconds(postern.program.pid) - cpu) / seconds()
    await load.settle(10_000)
    return { shots, share }
  }

  it('answers nearly all of it in time, and says overloaded to what is too much', async function () {
    // The first time warms it up.
    await capacity()
    const { rate, share: fully } = await capacity()
    assert.ok(rate > 100, `${rate} a second`)
    const { shots, share } = await press(rate * tooMuch)
    const counts: Record<string, number> = {}
    for (const shot of shots) counts[outcome(shot)] = (counts[outcome(shot)] ?? 0) + 1
    const inTime = shots.filter(({ ms }) => ms !== undefined && ms <= deadlineMs).length
    const said = `it can do ${rate.toFixed()} a second, was asked ${shots.length} in ${pressSeconds} s with ${share.toFixed(2)} of a core (${fully.toFixed(2)} before): ${JSON.stringify(counts)}, ${inTime} in time`
    say(said)
    const others = Object.keys(counts).filter((what) => what !== 'ok' && what !== 'overloaded')
    assert.deepEqual(others, [], said)
    // A service that had time left was not asked for too much: the clients were too slow, now or when its capacity was taken.
    if (share < saturated || share < fully * fairShare) return this.skip()
    assert.ok((counts['overloaded'] ?? 0) > 0, said)
    assert.ok(inTime > shots.length * mostInTime, said)
    // It goes on with its work meanwhile.
    assert.ok((counts['ok'] ?? 0) > rate * pressSeconds * workDone, said)
  })
})

interface Pressed {
  readonly shots: readonly Shot[]
  /** Of a core, which the service got. */
  readonly share: number
}

/** The reason of an answer, from its metadata. */
function outcome({ ms, answer }: Shot): string {
  if (ms === undefined) return 'no answer'
  if (answer === undefined) return 'a gRPC error'
  const { dynamic_metadata: metadata } = decodeResponse(answer)
  return String(metadata?.fields?.['reason']?.string_value ?? 'no reason')
}
