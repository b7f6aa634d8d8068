// A server in a process of its own, which tells how much is among its old objects.
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { getHeapSpaceStatistics } from 'node:v8'
import { startLeanServer } from '../../src/wire/lean-server.ts'

let calls = 0
let collections = 0
const observer = new PerformanceObserver((list) => count(list.getEntries()))
observer.observe({ entryTypes: ['gc'] })

function count(entries: readonly object[]): void {
  for (const entry of entries as { detail: { kind: number } }[])
    if (entry.detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) collections++
}

const answer = Buffer.alloc(600)
const server = await startLeanServer({
  listener: { address: { kind: 'tcp', host: '127.0.0.1', port: 0 }, tls: { mode: 'none' } },
  handler: () => {
    calls++
    return answer
  },
  onFault: console.error,
})
process.on('message', async () => {
  // The observer is told a little later.
  await setTimeout(100)
  count(observer.takeRecords())
  const old = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')
  process.send?.({ bytes: old?.space_used_size, calls, collections })
})
process.on('disconnect', () => process.exit(0))
process.send?.({ port: (server.address as { port: number }).port })
