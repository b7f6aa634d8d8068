import type { Call } from './lean-call.ts'

/** Looks, and so about seconds, within which a message must arrive, and within which a peer must take its answer. */
const messageWithin = 10
const takenWithin = 10

/** The calls of all connections that wait for their peer, or for their answer. */
export interface OpenCalls {
  /** Takes a call that begins. */
  readonly add: (call: Call) => void
  readonly end: () => void
}

/**
 * Most calls begin and end in one turn of the event loop, and cost no timer and no listener. What is left at its end
 * is looked over once a second: a message that does not arrive ends its call, and a peer that does not read its
 * answers loses its connection, and with it what was kept for it.
 * @param everyMs how often open calls are looked over, in milliseconds
 */
export function watchCalls(everyMs = 1000): OpenCalls {
  let begun: Call[] = []
  // A list, where each call knows its place: a Set would hold on to calls that are over (see lean-streams.ts).
  const open: Call[] = []
  const closed = (call: Call): void => {
    const last = open.pop()
    if (last === undefined || last === call) return
    open[call.place] = last
    last.place = call.place
  }
  const endTurn = (): void => {
    const calls = begun
    begun = []
    for (const call of calls) {
      if (call.over) call.leave()
      else {
        call.place = open.push(call) - 1
        call.wait(closed)
      }
    }
  }
  const look = (call: Call): void => {
    call.seen++
    if (call.state === 'reading') {
      if (call.seen > messageWithin || (call.leftMs() ?? 1) <= 0) call.late()
    } else if (call.state === 'answered' && call.seen > takenWithin) call.connection.cut()
  }
  const timer = setInterval(() => {
    for (const call of [...open]) look(call)
  }, everyMs)
  timer.unref()
  return {
    add: (call) => {
      if (begun.push(call) === 1) setImmediate(endTurn)
    },
    end: () => clearInterval(timer),
  }
}
