import { randomBytes } from 'node:crypto'
import type { SecretStore } from '../core/ports.ts'

const bytes = 32

export interface SharedSecretTimes {
  /** Milliseconds after which it is read again: a state that lost it gets it back, and replicas agree again. */
  readonly againMs?: number
  /** Milliseconds after which it is asked for again where state did not answer. */
  readonly retryMs?: number
}

/** A random secret of all replicas, in memory. */
export interface SharedSecret {
  /** undefined until state has answered once */
  readonly current: () => Uint8Array | undefined
  readonly close: () => void
}

/**
 * Reads the secret from state, or makes it there, and keeps it. Goes on with the last one while state does not answer.
 * @param name of the secret in state
 */
export async function openSharedSecret(store: SecretStore, name: string, times: SharedSecretTimes = {}): Promise<SharedSecret> {
  const { againMs = 15_000, retryMs = 1000 } = times
  let text: string | undefined
  let secret: Uint8Array | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const read = async (): Promise<void> => {
    let failed = false
    try {
      // What is in use is what the others are to use, where state has forgotten it.
      const found = await store.shared(name, text ?? randomBytes(bytes).toString('base64url'))
      if (found !== text) secret = Buffer.from(found, 'base64url')
      text = found
    } catch {
      failed = true
    }
    if (closed) return
    timer = setTimeout(() => void read(), failed ? retryMs : againMs)
    timer.unref()
  }

  await read()
  return {
    current: () => secret,
    close: () => {
      closed = true
      clearTimeout(timer)
    },
  }
}
