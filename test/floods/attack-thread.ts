/** One attack, run by its name in a thread; its counts are the thread's only message. */
import { parentPort, workerData } from 'node:worker_threads'
import { attacks } from './attacks.ts'
import { slowAttacks } from './slow-attacks.ts'
import type { Attack, AttackOrder, Counts } from './under-attack.ts'

const { name, port, bite, ms, mostMs } = workerData as AttackOrder
const all: Readonly<Record<string, Attack>> = { ...attacks, ...slowAttacks }
const hasBitten = (counts: Counts): boolean => Object.entries(bite).every(([what, least]) => (counts[what] ?? 0) >= least)
// Opening the connections may take longer than the whole attack is meant to last: the time begins when they are open.
let began: number | undefined
const over = (counts: Counts): boolean => {
  began ??= performance.now()
  const lasted = performance.now() - began
  return lasted > mostMs || (lasted > ms && hasBitten(counts))
}
parentPort?.postMessage(await all[name]?.(port, over))
