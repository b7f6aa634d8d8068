import { Socket } from 'node:net'
import type { MetricsSnapshot } from '../adapters/metrics-sum.ts'
import type { Settings } from '../config/schema.ts'
import { StartRefused } from '../core/start-refused.ts'
import { unchangingOf } from './workers-count.ts'
import type { ToPrimary, ToWorker } from './workers-messages.ts'

/** A worker's side of the channel between it and its primary. */
export interface WorkerLink {
  /** Counted from 1; one that replaces another has its number. */
  readonly number: number
  /** Waits for the first message. @throws {StartRefused} where the policy here is not one that the primary could take over */
  readonly agree: (settings: Settings, several?: boolean) => Promise<void>
  /** Of the fingerprints of credentials, alike in all workers; known once it has agreed. */
  readonly fingerprintKey: () => string
  /** Connections from now on. @returns a function after which none is taken any more */
  readonly subscribe: (take: (socket: Socket) => void) => () => void
  /** Answers what the primary asks for when somebody scrapes. */
  readonly measure: (snapshot: () => Promise<MetricsSnapshot>) => void
  readonly onReload: (reload: () => void) => void
  readonly tell: (message: ToPrimary) => void
  /** Resolves when this worker is to drain: it was told so, or the primary is gone. */
  readonly leave: Promise<void>
  /** Lets go of the channel, which would keep the process alive. */
  readonly end: () => void
}

/** @throws {StartRefused} where no primary has started this process */
export function openWorkerLink(number: number): WorkerLink {
  if (!process.send) throw new StartRefused(['workers are started by postern serve, as the setting workers says'])
  let begun: (unchanging: string) => void = () => {}
  const unchanging = new Promise<string>((resolve) => {
    begun = resolve
  })
  let fingerprintKey = ''
  let left: () => void = () => {}
  const leave = new Promise<void>((resolve) => {
    left = resolve
  })
  let take: ((socket: Socket) => void) | undefined
  let snapshot: (() => Promise<MetricsSnapshot>) | undefined
  let reload: () => void = () => {}

  const tell = (message: ToPrimary): void => {
    // A primary that went away is told by 'disconnect'.
    if (process.connected) process.send?.(message, undefined, undefined, () => {})
  }
  const connection = (id: number, socket: unknown): void => {
    if (!(socket instanceof Socket)) {
      tell({ kind: 'closed', id })
      return
    }
    socket.once('close', () => tell({ kind: 'closed', id }))
    socket.on('error', () => {})
    if (take) take(socket)
    else socket.destroy()
    tell({ kind: 'taken', id })
  }
  process.on('message', (message: ToWorker, socket: unknown) => {
    switch (message.kind) {
      case 'begin':
        fingerprintKey = message.fingerprintKey
        return begun(message.unchanging)
      case 'connection':
        return connection(message.id, socket)
      case 'metrics':
        // What cannot be answered is left out by the primary.
        return void snapshot?.().then(
          (taken) => tell({ kind: 'metrics', id: message.id, snapshot: taken }),
          () => {},
        )
      case 'ping':
        return tell({ kind: 'pong' })
      case 'reload':
        return reload()
      case 'drain':
        return left()
    }
  })
  process.once('disconnect', left)

  return {
    number,
    agree: async (settings, several) => {
      const wanted = await Promise.race([unchanging, leave])
      if (wanted !== unchangingOf(settings, several))
        throw new StartRefused(
          ['the policy file has changed where a running service cannot follow: restart it, or write the old values'],
          'policy',
        )
    },
    subscribe: (taker) => {
      take = taker
      return () => {
        take = undefined
      }
    },
    fingerprintKey: () => fingerprintKey,
    measure: (measured) => {
      snapshot = measured
    },
    onReload: (again) => {
      reload = again
    },
    tell,
    leave,
    end: () => {
      if (process.connected) process.disconnect?.()
    },
  }
}
