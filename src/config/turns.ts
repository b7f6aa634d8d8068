import { setImmediate } from 'node:timers/promises'

/** A long piece of work holds its thread for this many milliseconds at a time. */
const turnMs = 5

/** Cuts long work into turns: `if (turns.due) await turns.next()` between its pieces lets checks through. */
export class Turns {
  #since = performance.now()

  get due(): boolean {
    return performance.now() - this.#since > turnMs
  }

  /** Lets everything else that waits go first. */
  async next(): Promise<void> {
    await setImmediate()
    this.#since = performance.now()
  }
}
