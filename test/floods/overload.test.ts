import assert from 'node:assert/strict'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { canMeasure } from '../support/process-cost.ts'
import { decodeResponse, encodeRequest } from '../wire/support.ts'
import { type Work, watchWork } from './busy.ts'
import { startTokenIssuer, type TokenIssuer } from './overload-issuer.ts'
import { createLoad, type Load, type Shot } from './overload-load.ts'
import { say } from './say.ts'
import type { Transport } from './service.ts'

/** What Envoy's filter gives a check unless it is told otherwise. */
const deadlineMs = 200
const connections = 50
/** Checks that warm it up. */
const warming = 4_000
/** Checks of one measurement of what it can do: as many as it does in about a second, within these bounds. */
const measured = { least: 1_000, most: 6_000 }
const measureLimitMs = 20_000
/** Milliseconds that such a check waits for those before it: far from its deadline. */
const waitMs = 50
/** Checks that wait at once, before it is known how many that are. */
const firstWaiting = 100
const pressSeconds = 2.5
/** How much more is asked then than the service can do. */
const tooMuch = 1.5
/** Where that was not too much: how much more is asked the next time, and how often at most. */
const more = 1.5
const presses = 4
/** The part of the time in which a service that is asked too much has something to do. */
const saturated = 0.9
/** Milliseconds within which questions that are due are asked together: clients that fall behind ask less, and are not late themselves. */
const burstMs = 20
/** Of the CPU that it had while it was measured: with less, other programs have starved it, and it was asked still more than was meant. */
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

describe('a service that is asked more than it can do', function () {
  this.timeout(60_000)
  // Its own part of the machine changes from one second to the next.
  this.retries(2)
  let issuer: TokenIssuer
  let postern: RunningPostern
  let load: Load

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

  let minted = 0
  /** With tokens that the service has not seen. They are made before the time is taken. */
  async function fresh(count: number): Promise<Buffer[]> {
    const messages: Buffer[] = []
    while (messages.length < count) {
      messages.push(message(issuer.mint(minted++)))
      if (messages.length % 500 === 0) await turn()
    }
    return messages
  }

  /** Asks a number of checks, with so many of them under way at all times: what it can do follows from the time that it was at work. */
  async function measure(count: number, waiting: number): Promise<Capacity> {
    const messages = await fresh(count)
    const shots: Shot[] = []
    const end = performance.now() + measureLimitMs
    const work = watchWork(postern.program.pid)
    while ((shots.length < count || load.open() > 0) && performance.now() < end) {
      while (load.open() < waiting && shots.length < count) {
        const shot = load.shoot(messages[shots.length]!)
        if (shot === undefined) break
        shots.push(shot)
      }
      await sleep(1)
    }
    const { seconds, ran, busy } = work()
    const counts = outcomes(shots)
    assert.deepEqual(unmeant(counts), [], JSON.stringify(counts))
    return { rate: (counts['ok'] ?? 0) / (seconds * busy), share: ran / busy }
  }

  /** Asks for so much, come what may: an answer that is late does not hold up the next question. */
  async function press(perSecond: number): Promise<Pressed> {
    const messages = await fresh(Math.ceil(perSecond * pressSeconds))
    const shots: Shot[] = []
    const service = watchWork(postern.program.pid)
    const clients = watchWork(process.pid)
    const began = performance.now()
    let last = began
    let due = 0
    for (let now = began; now - began < pressSeconds * 1000; now = performance.now()) {
      due += (Math.min(now - last, burstMs) / 1000) * perSecond
      last = now
      for (; due >= 1 && shots.length < messages.length; due--) {
        const shot = load.shoot(messages[shots.length]!)
        if (shot === undefined) break
        shots.push(shot)
      }
      await sleep(1)
    }
    const works = { service: service(), clients: clients() }
    await load.settle(10_000)
    const inTime = shots.filter(({ ms }) => ms !== undefined && ms <= deadlineMs).length
    return { ...works, asked: shots.length, counts: outcomes(shots), inTime }
  }

  it('answers nearly all of it in time, and says overloaded to what is too much', async function () {
    // The first time warms it up.
    let { rate, share } = await measure(warming, firstWaiting)
    let said = ''
    let cannot: string | undefined
    let factor = tooMuch
    for (let at = 0; at < presses; at++) {
      ;({ rate, share } = await measure(Math.min(Math.max(rate, measured.least), measured.most), Math.max(1, rate * (waitMs / 1000))))
      assert.ok(rate > 100, `${rate} a second`)
      const { service, clients, asked, counts, inTime } = await press(rate * factor)
      said =
        `it can do ${rate.toFixed()} a second, was asked ${asked} in ${service.seconds.toFixed(1)} s, meant were ${factor.toFixed(2)} times as many; ` +
        `it had ${service.ran.toFixed(2)} of a core (${share.toFixed(2)} before), had something to do for ${percent(service.busy)} of the time, its clients for ${percent(clients.busy)}: ` +
        `${JSON.stringify(counts)}, ${inTime} in time`
      say(said)
      assert.deepEqual(unmeant(counts), [], said)
      const wasTooMuch = service.busy >= saturated && !(counts['ok'] === asked && inTime === asked)
      const starved = service.ran < share * fairShare
      if (wasTooMuch && !starved) {
        assert.ok((counts['overloaded'] ?? 0) > 0, said)
        assert.ok(inTime > asked * mostInTime, said)
        // It goes on with its work meanwhile.
        assert.ok((counts['ok'] ?? 0) > rate * pressSeconds * workDone, said)
        return
      }
      if (!wasTooMuch) factor *= more
      cannot = undefined
      if (clients.busy >= saturated) cannot = 'its clients, which share the machine with it, can ask no more'
      if (starved) cannot = 'other programs took CPU that it had a moment before'
    }
    if (cannot === undefined) assert.fail(`it had time left, though its clients could ask: ${said}`)
    console.log(`The service could not be overloaded in ${presses} tries, as ${cannot}: ${said}`)
    this.skip()
  })
})

interface Capacity {
  /** Checks a second, if it has something to do all the time. */
  readonly rate: number
  /** Of a core, which the machine has for it then. */
  readonly share: number
}

interface Pressed {
  readonly service: Work
  readonly clients: Work
  readonly asked: number
  /** How many of each outcome. */
  readonly counts: Readonly<Record<string, number>>
  readonly inTime: number
}

const percent = (part: number): string => `${(part * 100).toFixed()} %`

function outcomes(shots: readonly Shot[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const shot of shots) {
    const what = outcome(shot)
    counts[what] = (counts[what] ?? 0) + 1
  }
  return counts
}

const unmeant = (counts: Readonly<Record<string, number>>): string[] =>
  Object.keys(counts).filter((what) => what !== 'ok' && what !== 'overloaded')

/** The reason of an answer, from its metadata. */
function outcome({ ms, answer }: Shot): string {
  if (ms === undefined) return 'no answer'
  if (answer === undefined) return 'a gRPC error'
  const { dynamic_metadata: metadata } = decodeResponse(answer)
  return String(metadata?.fields?.['reason']?.string_value ?? 'no reason')
}
