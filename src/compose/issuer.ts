import { encryptedKeyStore, KeyCipherError, keyCipher, readEncryptionKey } from '../adapters/key-cipher.ts'
import type { Metrics } from '../adapters/metrics.ts'
import type { Loaded } from '../config/read.ts'
import type { Settings } from '../config/schema.ts'
import { clockSkew } from '../core/jwt.ts'
import { type State, Unavailable } from '../core/ports.ts'
import { StartRefused } from '../core/start-refused.ts'
import { adminTokens } from '../issuer/admin-token.ts'
import { issuerEndpoints } from '../issuer/endpoints.ts'
import { type KeyRing, openKeyRing } from '../issuer/key-ring.ts'
import { keySet } from '../issuer/key-set.ts'
import { createMint, type Mint } from '../issuer/mint.ts'
import { isPageKey, UnreadableKey } from '../issuer/signing-key.ts'
import { createPageKeys, type PageKeys } from './page-keys.ts'
import { composeProtectedResource } from './protected-resource.ts'

/** The issuer's parts, as other parts use them. Until state gave keys, everything that needs one is unavailable. */
export interface IssuerParts {
  /** The `iss` of its tokens. */
  readonly url: string
  readonly mint: Mint
  readonly keys: Pick<KeyRing, 'find'>
  readonly verifyAdmin: ReturnType<typeof adminTokens>
  readonly pages: PageKeys
  /** undefined until state gave keys. */
  readonly ring: () => KeyRing | undefined
  readonly close: () => void
}

/** No token of ours lives longer: an edge token of a day, and the skew of verifiers. */
const keepKeysMs = (24 * 3600 + clockSkew) * 1000
const retryMs = 1000

/** The `iss` of our tokens: the listener's URL; without a listener admin tokens still need a name. */
export const issuerUrl = ({ listen, realm }: Settings): string => listen.issuer?.url ?? `urn:postern:${realm}`

/**
 * Opens keys where something is minted: with an issuer listener, or for admin tokens. State that is down now does
 * not stop the start: keys are loaded when it answers.
 * @param rotates whether this process makes new keys and takes old ones away when it is time
 * @throws {StartRefused} where the keys in state cannot be used as configured
 */
export async function openIssuer(
  settings: Settings,
  state: State,
  onFault: (cause: unknown) => void,
  rotates: boolean,
): Promise<IssuerParts | undefined> {
  if (!settings.listen.issuer && !settings.admin.secret) return undefined
  const url = issuerUrl(settings)
  const { encryption_key, publish_before, rotate_every } = settings.issuer.keys
  const cipher = encryption_key && keyCipher(encryptionKey(encryption_key.read()))
  const store = cipher ? encryptedKeyStore(state.keys, cipher) : state.keys
  const rotateEveryMs = rotates ? rotate_every : Number.POSITIVE_INFINITY
  let ring: KeyRing | undefined
  let closed = false
  let timer: NodeJS.Timeout | undefined

  const open = async (): Promise<void> => {
    const opened = await openKeyRing({
      store: keySet(store, (key) => !isPageKey(key)),
      feed: state.feed,
      publishBeforeMs: publish_before,
      rotateEveryMs,
      keepForMs: rotates ? keepKeysMs : Number.POSITIVE_INFINITY,
      fault: onFault,
    })
    if (closed) opened.close()
    else ring = opened
  }
  const openLater = (): void => {
    timer = setTimeout(() => {
      open().catch((cause: unknown) => {
        // That state does not answer was told when it began.
        if (!(cause instanceof Unavailable)) onFault(cause)
        if (!closed) openLater()
      })
    }, retryMs)
  }
  try {
    await open()
  } catch (cause) {
    if (cause instanceof KeyCipherError || cause instanceof UnreadableKey)
      throw new StartRefused([`issuer.keys.encryption_key: ${cause.message}`])
    if (!(cause instanceof Unavailable)) throw cause
    onFault(cause)
    openLater()
  }

  const ready = (): KeyRing => {
    if (!ring) throw new Unavailable('the signing keys have not been loaded from state yet')
    return ring
  }
  const keys: IssuerParts['keys'] = {
    find: (kid, alg) => ring?.find(kid, alg) ?? { kind: 'unavailable', detail: 'the signing keys have not been loaded from state yet' },
  }
  const pages = createPageKeys({ issuer: url, store, feed: state.feed, rotateEveryMs, onFault })
  return {
    url,
    pages,
    mint: createMint({
      issuer: url,
      signer: { sign: (payload, typ) => ready().sign(payload, typ) },
      adminAudience: settings.admin.audience,
    }),
    keys,
    verifyAdmin: adminTokens({ issuer: url, adminAudience: settings.admin.audience, keys }),
    ring: () => ring,
    close: () => {
      closed = true
      pages.close()
      clearTimeout(timer)
      ring?.close()
    },
  }
}

function encryptionKey(text: string): Buffer {
  try {
    return readEncryptionKey(text)
  } catch (cause) {
    throw new StartRefused([`issuer.keys.encryption_key: ${cause instanceof Error ? cause.message : 'cannot be read'}`])
  }
}

/** What the issuer listener serves; undefined where the policy names none. */
export function composeEndpoints(
  { url, ring }: IssuerParts,
  { listen }: Settings,
  loaded: () => Loaded,
  metrics: Pick<Metrics, 'request'>,
) {
  if (!listen.issuer) return undefined
  return issuerEndpoints({
    issuer: url,
    jwks: () => ring()?.jwks() ?? { keys: [] },
    protectedResource: composeProtectedResource(loaded, url),
    tls: listen.issuer.tls.mode !== 'none',
    observe: metrics.request,
  })
}
