import assert from 'node:assert/strict'
import { createTurnClock } from '../../src/wire/turn-clock.ts'

/** An event loop by hand: time passes only when it is told to. */
function loop() {
  let idle = 0
  let after: (() => void)[] = []
  let tick = (): void => {}
  const regularly = (then: () => void): void => {
    tick = then
  }
  const clock = createTurnClock({ idleMs: () => idle, afterTurn: (then) => after.push(then), regularly })
  return {
    clock,
    tick: () => tick(),
    wait: (ms: number) => {
      idle += ms
    },
    endTurn: () => {
      for (const then of after) then()
      after = []
    },
  }
}

describe('the turn clock', () => {
  it('says nothing of the first message', () => {
    assert.equal(loop().clock.waitedMs(1000), 0)
  })

  it('says nothing after the loop had been waiting for events', () => {
    const { clock, wait, endTurn } = loop()
    clock.waitedMs(1000)
    endTurn()
    wait(500)
    assert.equal(clock.waitedMs(1500), 0)
  })

  it('tells how long the turn before was, to each message of this one', () => {
    const { clock, wait, endTurn } = loop()
    clock.waitedMs(1000)
    endTurn()
    wait(20)
    assert.equal(clock.waitedMs(1320), 300)
    assert.equal(clock.waitedMs(1340), 320)
    endTurn()
    // A shorter turn after the long one: from 1320 to 1350.
    assert.equal(clock.waitedMs(1350), 30)
  })

  it('grows with the turn itself', () => {
    const { clock } = loop()
    clock.waitedMs(1000)
    assert.equal(clock.waitedMs(1200), 200)
  })

  it('counts whatever else kept the loop busy', () => {
    const { clock, wait, endTurn } = loop()
    clock.waitedMs(1000)
    endTurn()
    wait(5)
    // 400 ms of something that was no message.
    assert.equal(clock.waitedMs(1405), 400)
  })

  it('forgets what the loop did long ago, though no message came since', async () => {
    const { clock, tick, endTurn } = loop()
    clock.waitedMs(performance.now())
    for (let i = 0; i < 20; i++) {
      // Busy for a while, again and again: state that is polled, a scrape.
      const until = performance.now() + 5
      while (performance.now() < until);
      endTurn()
      tick()
    }
    endTurn()
    const waited = clock.waitedMs(performance.now())
    assert.ok(waited < 50, `${waited}`)
  })

  it('of a quiet service says next to nothing', async () => {
    const clock = createTurnClock()
    clock.waitedMs(performance.now())
    for (let i = 0; i < 15; i++) {
      await new Promise((done) => setTimeout(done, 20))
      const until = performance.now() + 5
      while (performance.now() < until);
    }
    await new Promise((done) => setTimeout(done, 100))
    const waited = clock.waitedMs(performance.now())
    assert.ok(waited < 60, `${waited}`)
  })

  it('goes by the real event loop', async () => {
    const clock = createTurnClock()
    clock.waitedMs(performance.now())
    await new Promise((done) => setTimeout(done, 60))
    // Idle, mostly.
    assert.ok(clock.waitedMs(performance.now()) < 50)
    await new Promise((done) => setImmediate(done))
    const until = performance.now() + 60
    while (performance.now() < until);
    await new Promise((done) => setImmediate(done))
    assert.ok(clock.waitedMs(performance.now()) >= 55)
  })
})
