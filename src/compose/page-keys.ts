import { type KeyStore, type State, Unavailable } from '../core/ports.ts'
import { type KeyRing, openKeyRing } from '../issuer/key-ring.ts'
import { keySet } from '../issuer/key-set.ts'
import { createPageMint } from '../issuer/mint.ts'
import { createPageKey, isPageKey } from '../issuer/signing-key.ts'

/** Page tokens, as they are minted and verified. Until state gave keys, both are unavailable. */
export interface PageKeys {
  /** Loads or makes the keys, where that has not begun: nobody waits for it. */
  readonly begin: () => void
  readonly keys: Pick<KeyRing, 'find'>
  /** @throws {Unavailable} */
  readonly mint: ReturnType<typeof createPageMint>
  readonly close: () => void
}

export interface PageKeysOptions {
  readonly issuer: string
  /** Shared with the issuer's other keys; decrypts and encrypts by itself. */
  readonly store: KeyStore
  readonly feed: Pick<State['feed'], 'subscribe'>
  /** Milliseconds that one key signs; Infinity where another process makes the next one. */
  readonly rotateEveryMs: number
  readonly onFault: (cause: unknown) => void
}

/** Milliseconds, before a key signs and after: longer than replicas take to hear of it, and than a token lives. */
const marginMs = 120_000
const retryMs = 1000

/**
 * The keys of page tokens: RS256, kept and shared as the issuer's other keys, and used for nothing else. They are not in
 * the JWKS: no upstream is ever shown a page token.
 */
export function createPageKeys({ issuer, store, feed, rotateEveryMs, onFault }: PageKeysOptions): PageKeys {
  let ring: KeyRing | undefined
  let begun = false
  let closed = false
  let timer: NodeJS.Timeout | undefined

  const open = async (): Promise<void> => {
    const opened = await openKeyRing({
      store: keySet(store, isPageKey),
      feed,
      make: createPageKey,
      publishBeforeMs: marginMs,
      rotateEveryMs,
      keepForMs: Number.isFinite(rotateEveryMs) ? marginMs : Number.POSITIVE_INFINITY,
      fault: onFault,
    })
    if (closed) opened.close()
    else ring = opened
  }
  const openNow = (): void => {
    open().catch((cause: unknown) => {
      if (closed) return
      // That state does not answer was told when it began.
      if (!(cause instanceof Unavailable)) onFault(cause)
      timer = setTimeout(openNow, retryMs)
    })
  }
  const notYet = 'the keys of page tokens have not been loaded from state yet'

  return {
    begin: () => {
      if (!begun && !closed) openNow()
      begun = true
    },
    keys: { find: (kid, alg) => ring?.find(kid, alg) ?? { kind: 'unavailable', detail: notYet } },
    mint: createPageMint({
      issuer,
      signer: {
        sign: (payload, typ) => {
          if (!ring) throw new Unavailable(notYet)
          return ring.sign(payload, typ)
        },
      },
    }),
    close: () => {
      closed = true
      clearTimeout(timer)
      ring?.close()
    },
  }
}
