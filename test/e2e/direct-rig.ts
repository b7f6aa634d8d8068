import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { AllowAnswer } from '../../src/core/answer.ts'
import { type Answering, startAnswering } from '../support/answering.ts'
import type { Certificates } from '../support/certificates.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import type { RunningPostern } from '../support/postern.ts'

export const header = 'x-envoy-original-dst-host'

/** An allow that sets the header, removes it, or leaves it alone. */
export const allowing = (endpoint: string | undefined, remove: readonly string[] = []): AllowAnswer => ({
  kind: 'allow',
  reason: 'ok',
  mutations: { shared: [], own: endpoint === undefined ? [] : [[header, endpoint]], remove, removeAlso: [], removeQuery: [] },
  metadata: { shared: [{ decision: 'allow', reason: 'ok' }], own: [] },
})

export interface Rig {
  readonly edge: Edge
  readonly answering: Answering
  readonly stop: () => Promise<void>
}

/** envoy/direct.yaml with a test's own answers in the place of Postern's. */
export async function startRig(change?: (text: string, certificates: Certificates) => string): Promise<Rig> {
  let answering: Answering | undefined
  const start = async (_: string, { check }: { check: string }): Promise<RunningPostern> => {
    answering = await startAnswering(check.slice('unix:'.length))
    // Nothing of a Postern but its end is asked for.
    return { stop: answering.stop } as unknown as RunningPostern
  }
  const edge = await startEdge('direct.yaml', '', start, 1, change)
  return { edge, answering: answering ?? assert.fail('nothing was started'), stop: edge.stop }
}

/** Leaves it to Postern alone to remove what a client says. */
export const withoutEarlyRemoval = (text: string): string => {
  const changed = text.replace(/ +early_header_mutation_extensions:\n(?: +.*\n){4}/, '')
  assert.ok(changed.length < text.length && !changed.includes('early_header_mutation'))
  return changed
}

/** Takes no connection: two wait in its queue, and the kernel leaves all others without an answer. */
export async function startSilent(): Promise<{ readonly port: number; readonly stop: () => Promise<void> }> {
  const script = `const s = require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(s.address().port))`
  const child: ChildProcess = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(child.stdout!, 'data')) as [Buffer]
  const port = Number(line.toString())
  child.kill('SIGSTOP')
  const waiting: Socket[] = []
  // More than the queue holds: those that find no place are left open too.
  for (let i = 0; i < 4; i++) waiting.push(connect(port, '127.0.0.1').on('error', () => {}))
  await Promise.race([once(waiting[0]!, 'connect'), new Promise((done) => setTimeout(done, 1000))])
  await new Promise((done) => setTimeout(done, 200))
  return {
    port,
    stop: async () => {
      for (const socket of waiting) socket.destroy()
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}
