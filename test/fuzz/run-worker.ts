import { parentPort, workerData } from 'node:worker_threads'
import { longProperties } from './long-properties.ts'
import { type Outcome, type RunOptions, tryProperty } from './property.ts'

/** What a worker is told; `counter` holds one Uint32: the inputs so far. */
export interface Task extends Omit<RunOptions, 'onInput'> {
  readonly name: string
  readonly counter: SharedArrayBuffer
}

/** What a worker says at its end. */
export type Report = Outcome

// One property in a thread of its own: an input that never comes back does not hold up the one that counts.
const { name, counter, ...options } = workerData as Task
const one = longProperties.find((known) => known.name === name)
if (!one) throw new Error(`there is no property ${name}`)
const count = new Uint32Array(counter)
const report: Report = await tryProperty(one, { ...options, onInput: () => void Atomics.add(count, 0, 1) })
parentPort?.postMessage(report)
