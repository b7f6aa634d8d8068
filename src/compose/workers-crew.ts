import type { Socket } from 'node:net'
import type { Logger } from '../adapters/log.ts'
import type { WorkerStatus } from '../admin/status.ts'
import type { StartRefused } from '../core/start-refused.ts'
import { type Member, startMember, type WorkerCommand } from './workers-member.ts'

export interface CrewOptions {
  /** How many workers there are to be. */
  readonly size: number
  readonly command: WorkerCommand
  /** What no worker may disagree with (`unchangingOf`). */
  readonly unchanging: string
  /** Of the fingerprints of credentials; see `createFingerprint`. */
  readonly fingerprintKey: string
  readonly log: Pick<Logger, 'error'>
  /** For tests: milliseconds between questions for a sign of life; 5 s. */
  readonly pingEveryMs?: number
}

/** The workers of a primary: as many as there are to be, replaced when they end. */
export interface Crew {
  readonly size: number
  /** Starts them; resolves when all serve. @throws {StartRefused} with what the first of them says that will not */
  readonly start: () => Promise<void>
  /** Hands a connection to the worker that has the fewest. */
  readonly take: (socket: Socket) => void
  /** Those that run now, whether they serve yet or not. */
  readonly members: () => readonly Member[]
  /** Of all, each with the revision of this realm's policy there. */
  readonly status: (realm: string) => readonly WorkerStatus[]
  /** Workers that serve, and how often one was replaced. */
  readonly counts: () => { readonly alive: number; readonly restarts: number }
  /** Has all look at the policy's files at once. */
  readonly reload: () => void
  /** Replaces at once those whose turn has not come yet: what kept them from starting may be mended. */
  readonly hurry: () => void
  /** Has all drain, and waits for their end. @param graceMs milliseconds after which what is left is killed */
  readonly close: (graceMs: number) => Promise<void>
}

/** A worker that ends sooner than this after its start would end again and again: it is replaced later each time. */
const soonMs = 10_000
const firstDelayMs = 1000
const longestDelayMs = 30_000
/** A start that takes longer has hung. */
const startMs = 30_000

const pingEveryMs = 5000
/** Questions without an answer after which a worker hangs: half a minute in which it has answered no check. */
const mostUnanswered = 6

/** Milliseconds until a worker is replaced that has ended so many times in a row soon after its start. */
export const replacementDelay = (soonEnds: number): number =>
  soonEnds === 0 ? 0 : Math.min(longestDelayMs, firstDelayMs * 2 ** (soonEnds - 1))

export function createCrew(options: CrewOptions): Crew {
  const { size, command, unchanging, fingerprintKey, log } = options
  const members = new Map<number, Member>()
  const waits = new Map<number, NodeJS.Timeout>()
  const soonEnds = new Map<number, number>()
  let restarts = 0
  let pings: NodeJS.Timeout | undefined
  let complete = false
  let closing = false
  const running = (): Member[] => [...members.values()].sort((a, b) => a.number - b.number)
  const killAll = (): void => {
    for (const member of members.values()) member.kill()
  }

  const take = (socket: Socket): void => {
    let chosen: Member | undefined
    for (const member of running()) {
      if (member.serving() && (!chosen || member.connections() < chosen.connections())) chosen = member
    }
    // Nobody serves: whoever asks comes again, and is refused until then.
    if (chosen && !closing) chosen.take(socket)
    else socket.destroy()
  }

  const begin = (number: number): Member => {
    // One that began to read from the connection leaves the next to find no beginning, which is an error of HTTP/2 or TLS.
    const member = startMember({ number, command, unchanging, fingerprintKey, onLost: take })
    members.set(number, member)
    const hung = setTimeout(member.kill, startMs)
    member.started.then(
      () => clearTimeout(hung),
      () => clearTimeout(hung),
    )
    void member.ended.then((how) => {
      members.delete(number)
      if (complete && !closing) replace(member, how)
    })
    return member
  }

  const beginAgain = (number: number): void => {
    clearTimeout(waits.get(number))
    waits.delete(number)
    restarts += 1
    begin(number)
  }

  const replace = ({ number, pid, since, started }: Member, how: Awaited<Member['ended']>): void => {
    const soon = Date.now() - since.getTime() < soonMs
    soonEnds.set(number, soon ? (soonEnds.get(number) ?? 0) + 1 : 0)
    const delay = replacementDelay(soonEnds.get(number) ?? 0)
    const told = { worker: number, pid, ...how, again_ms: delay }
    started.then(
      () => log.error(told, 'a worker has ended'),
      (cause: StartRefused) => log.error({ ...told, faults: cause.sentences }, 'a worker cannot start'),
    )
    waits.set(number, setTimeout(beginAgain, delay, number))
  }

  const askAll = (): void => {
    for (const member of running()) {
      if (!member.serving() || member.ping() < mostUnanswered) continue
      log.error({ worker: member.number, pid: member.pid }, 'a worker hangs')
      member.kill()
    }
  }

  return {
    size,
    start: async () => {
      process.once('exit', killAll)
      const starting = Array.from({ length: size }, (_, i) => begin(i + 1).started)
      try {
        await Promise.all(starting)
      } catch (cause) {
        killAll()
        throw cause
      }
      complete = true
      // One that served, and ended while others were still starting.
      for (let number = 1; number <= size; number++) if (!members.has(number)) beginAgain(number)
      pings = setInterval(askAll, options.pingEveryMs ?? pingEveryMs)
    },
    take,
    members: running,
    status: (realm) =>
      running().map((member) => ({
        worker: member.number,
        pid: member.pid,
        serving: member.serving(),
        since: member.since.toISOString(),
        revision: member.revision(realm) ?? null,
        connections: member.connections(),
      })),
    counts: () => ({ alive: running().filter((member) => member.serving()).length, restarts }),
    reload: () => {
      for (const member of members.values()) member.tell({ kind: 'reload' })
    },
    hurry: () => {
      soonEnds.clear()
      if (!closing) for (const number of [...waits.keys()]) beginAgain(number)
    },
    close: async (graceMs) => {
      closing = true
      clearInterval(pings)
      for (const wait of waits.values()) clearTimeout(wait)
      const left = running()
      for (const member of left) member.tell({ kind: 'drain' })
      const timer = setTimeout(killAll, graceMs)
      await Promise.all(left.map(({ ended }) => ended))
      clearTimeout(timer)
      process.off('exit', killAll)
    },
  }
}
