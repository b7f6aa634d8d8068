import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Asks again and again, until there is an answer.
 * @param look gives undefined or false while there is none; a throw ends the wait
 * @param limit milliseconds
 * @throws when there is none within the limit; `what` says what was waited for
 */
export async function until<T>(what: string, look: () => T | Promise<T>, limit = 10_000): Promise<Exclude<T, undefined | false>> {
  const end = performance.now() + limit
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found as Exclude<T, undefined | false>
    if (performance.now() > end) throw new Error(`waited ${limit} ms in vain for ${what}`)
    await sleep(20)
  }
}
