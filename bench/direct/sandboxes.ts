import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** Makes sandboxes, in a process of their own. */
export interface Sandboxes {
  /** @returns the port of a new one */
  readonly open: () => Promise<number>
  /** Ends all that were opened. */
  readonly close: () => void
  readonly stop: () => Promise<void>
}

export function startSandboxes(): Sandboxes {
  const child = fork(fileURLToPath(new URL('sandboxes-process.ts', import.meta.url)), { env: { ...process.env, NODE_OPTIONS: '' } })
  return {
    open: async () => {
      const told = once(child, 'message')
      child.send('open')
      return (await told)[0] as number
    },
    close: () => void child.send('close'),
    stop: async () => {
      const ended = once(child, 'exit')
      child.kill()
      await ended
    },
  }
}
