import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { cpuSeconds, openFiles, residentMiB } from '../support/process-cost.ts'
import { until } from '../support/until.ts'
import { say } from './say.ts'
import { createCaller, type Service } from './service.ts'

/** What an attack counted: what it sent, and how the service defended itself. */
export type Counts = Readonly<Record<string, number>>

/**
 * An attack on a port of 127.0.0.1: it goes on until `over`, told what it has counted so far, says so, and has then closed
 * all of its connections. It asks as soon as what it does has begun.
 */
export type Attack = (port: number, over: (counts: Counts) => boolean) => Promise<Counts>

/** What the thread of an attack is told: its name, the port, what it has to get to, and for how long it goes on at least and at most. */
export interface AttackOrder {
  readonly name: string
  readonly port: number
  readonly bite: Counts
  readonly ms: number
  readonly mostMs: number
}

/** Milliseconds for which each attack goes on from its begin … */
const attackMs = 1_000
/**
 * … and for which it does at most, where the machine is so slow that it has not had its effect yet. It is less than the 10 s
 * after which the service ends a connection for other reasons: that its preface does not come, or that nothing is read on it.
 */
const mostAttackMs = 8_000
/** Milliseconds between two questions of the client that is no attacker. */
const askEveryMs = 25
/**
 * MiB of the service at any time, through all attacks one after another: what leaked would pile up beyond it. A fresh one has about
 * 100, and what the system's allocator once had from the kernel it does not give back.
 */
const mostMiB = 448
/** CPU that an idle service may use, in seconds a second: after an attack nothing is left to be done. */
const idleCpu = 0.15
const idleMs = 300
/** What an attacker has sent before it was cut off is still read, to the last of the system's buffers. Milliseconds. */
const aftermathMs = 20_000
/** Of the other client: how many answers it gets at least, five of them afterwards, and what half of them may take. Milliseconds. */
const leastAnswers = 6
const medianMs = 1_000

/** In a thread of its own, so that it does not take the time of the client that is watched. */
function runAttack(name: string, port: number, bite: Counts): Promise<Counts> {
  return new Promise((done, fail) => {
    const order: AttackOrder = { name, port, bite, ms: attackMs, mostMs: mostAttackMs }
    const worker = new Worker(new URL('attack-thread.ts', import.meta.url), { workerData: order })
    worker.once('message', done)
    worker.once('error', fail)
    worker.once('exit', () => fail(new Error(`the attack "${name}" ended without a word`)))
  })
}

/**
 * Attacks a service while another client asks it, and holds it to its promises: each question is answered within its
 * time, during and after; memory is bounded; and afterwards nothing is left: no file descriptor, no work.
 * @param attack its name in attacks.ts or slow-attacks.ts
 * @param bite what it has to count at least, to have been one
 */
export async function underAttack(service: Service, attack: string, bite: Counts): Promise<Counts> {
  const { pid } = service
  const caller = createCaller(service)
  try {
    await caller.ask()
    const before = { memory: residentMiB(pid), files: openFiles(pid) }
    const answers: number[] = []
    let worst = before.memory
    const attacking = runAttack(attack, service.port, bite)
    let ended = false
    const asking = (async () => {
      do {
        answers.push(await caller.ask())
        worst = Math.max(worst, residentMiB(pid))
        await sleep(askEveryMs)
      } while (!ended)
    })()
    const counts = await Promise.all([attacking.finally(() => (ended = true)), asking]).then(([first]) => first)
    for (let more = 0; more < 5; more++) answers.push(await caller.ask())
    worst = Math.max(worst, residentMiB(pid))

    // Each came within the caller's deadline: a question that is not answered with an allow has thrown.
    assert.ok(answers.length >= leastAnswers, `only ${answers.length} answers beside the attack`)
    const median = answers.toSorted((a, b) => a - b)[Math.floor(answers.length / 2)]!
    assert.ok(median < medianMs, `half of the answers took more than ${median.toFixed()} ms`)
    assert.ok(worst < mostMiB, `memory grew from ${before.memory.toFixed()} to ${worst.toFixed()} MiB`)
    await until('the files to be closed', () => openFiles(pid) <= before.files, aftermathMs).catch((cause: Error) => {
      throw new Error(`${openFiles(pid)} file descriptors, ${before.files} before`, { cause })
    })
    await until(
      'the service to be idle',
      async () => {
        const used = cpuSeconds(pid)
        await sleep(idleMs)
        return ((cpuSeconds(pid) - used) / idleMs) * 1000 < idleCpu
      },
      aftermathMs,
    )
    say(
      `${attack}: ${JSON.stringify(counts)}; the other client ${answers.length} answers, median ${median.toFixed()} ms, longest ${Math.max(...answers).toFixed()} ms; at most ${worst.toFixed()} MiB`,
    )
    return counts
  } finally {
    caller.close()
  }
}
