import { setTimeout as sleep } from 'node:timers/promises'
import { request } from '../support/request.ts'
import type { Platform } from './platform.ts'

/** Requests that go on, at a steady pace, until they are stopped. */
export interface Load {
  /** How many have been answered with 200. */
  readonly answered: () => number
  /** Of all others, what became of them. */
  readonly failed: readonly string[]
  readonly stop: () => Promise<void>
}

/** Twenty requests a second, each on a connection of its own: half of them to each upstream. */
export function startLoad({ port, tls, users }: Platform): Load {
  const failed: string[] = []
  let answered = 0
  let going = true
  const one = async (at: number): Promise<void> => {
    const when = new Date().toISOString()
    try {
      const token = await users.mint({ sub: 'alice', aud: 'agentcube-router', realm_access: { roles: ['sandbox:manage'] } })
      const what = at % 2 === 0 ? { path: '/v1/sandboxes/s1/run' } : { method: 'POST', path: '/v1/sandboxes', body: '{}' }
      const { status, body } = await request({ port, tls: tls(), headers: { authorization: `Bearer ${token}` }, ...what })
      if (status === 200) answered += 1
      else failed.push(`${when} ${status} ${body}`)
    } catch (error) {
      failed.push(`${when} ${error}`)
    }
  }
  const open = new Set<Promise<void>>()
  const run = async (): Promise<void> => {
    for (let at = 0; going; at++) {
      const sent = one(at)
      open.add(sent)
      sent.finally(() => open.delete(sent))
      await sleep(50)
    }
    await Promise.all(open)
  }
  const ended = run()
  return {
    answered: () => answered,
    failed,
    stop: async () => {
      going = false
      await ended
    },
  }
}
