/** One attack, run by its name in a thread; its counts are the thread's only message. */
import { parentPort, workerData } from 'node:worker_threads'
import { attacks } from './attacks.ts'
import { slowAttacks } from './slow-attacks.ts'
import type { Attack } from './under-attack.ts'

const { name, port, ms } = workerData as { readonly name: string; readonly port: number; readonly ms: number }
const end = performance.now() + ms
const all: Readonly<Record<string, Attack>> = { ...attacks, ...slowAttacks }
parentPort?.postMessage(await all[name]?.(port, () => performance.now() > end))
