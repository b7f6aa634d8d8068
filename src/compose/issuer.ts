import { encryptedKeyStore, KeyCipherError, keyCipher, readEncryptionKey } from '../adapters/key-cipher.ts'
import { type KeyFile, KeyFileRefused, openKeyFile } from '../adapters/key-file.ts'
import type { Metrics } from '../adapters/metrics.ts'
import type { Loaded } from '../config/read.ts'
import type { Settings } from '../config/schema.ts'
import type { JsonObject } from '../core/json.ts'
import { type KeyAlgorithm, type State, Unavailable } from '../core/ports.ts'
import { StartRefused } from '../core/start-refused.ts'
import { adminTokens } from '../issuer/admin-token.ts'
import { issuerEndpoints } from '../issuer/endpoints.ts'
import { type KeyPlan, type KeyRing, openKeyRing } from '../issuer/key-ring.ts'
import { keySet } from '../issuer/key-set.ts'
import { createMint, type Mint } from '../issuer/mint.ts'
import { isPageKey, UnreadableKey } from '../issuer/signing-key.ts'
import { longestLifeMs } from './longest-life.ts'
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
  /** What tokens are signed with; the first is that of all tokens that nothing else is said of. */
  readonly algorithms: () => readonly KeyAlgorithm[]
  /** Takes what a changed policy says of algorithms and of how long tokens live. */
  readonly configure: (settings: Settings) => void
  readonly close: () => void
}

const retryMs = 1000
/** Longer than a change of the keys takes to be known to every replica that hears from state. */
const settleMs = 2000

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
  const { encryption_key, file } = settings.issuer.keys
  const cipher = encryption_key && keyCipher(encryptionKey(encryption_key.read()))
  const keyFile = file === undefined ? undefined : await openFile(file)
  const { keys: kept, feed } = keyFile ? { keys: keyFile.store, feed: keyFile.feed } : state
  const store = cipher ? encryptedKeyStore(kept, cipher) : kept
  let signing = signingOf(settings)
  let plan = planOf(settings, rotates)
  let ring: KeyRing | undefined
  let closed = false
  let timer: NodeJS.Timeout | undefined

  const open = async (): Promise<void> => {
    const used = plan
    const opened = await openKeyRing({ store: keySet(store, (key) => !isPageKey(key)), feed, ...used, fault: onFault })
    if (closed) return opened.close()
    ring = opened
    // The policy may have changed meanwhile.
    if (used !== plan) opened.configure(plan).catch(onFault)
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
    if (!(cause instanceof Unavailable)) keyFile?.close()
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
  const pages = createPageKeys({ issuer: url, store, feed, rotateEveryMs: plan.rotateEveryMs, onFault })
  const sign = (payload: JsonObject, typ: string): string => ready().sign(payload, typ, signing.algorithmFor(payload['aud']))
  return {
    url,
    pages,
    mint: createMint({ issuer: url, signer: { sign }, adminAudience: settings.admin.audience }),
    keys,
    verifyAdmin: adminTokens({ issuer: url, adminAudience: settings.admin.audience, keys }),
    ring: () => ring,
    algorithms: () => signing.algorithms,
    configure: (next) => {
      signing = signingOf(next)
      const wanted = planOf(next, rotates)
      if (JSON.stringify(wanted) === JSON.stringify(plan)) return
      plan = wanted
      ring?.configure(plan).catch(onFault)
    },
    close: () => {
      closed = true
      pages.close()
      keyFile?.close()
      clearTimeout(timer)
      ring?.close()
    },
  }
}

/** Whose tokens are signed with what. */
function signingOf({ issuer: { algorithm, algorithm_for } }: Settings) {
  const by = new Map(Object.entries(algorithm_for).filter(([, wanted]) => wanted !== algorithm))
  const of = (audience: unknown): KeyAlgorithm | undefined => (typeof audience === 'string' ? by.get(audience) : undefined)
  return {
    algorithms: [...new Set([algorithm, ...by.values()])],
    /** undefined: as all others. A token for several audiences goes by the first that says something. */
    algorithmFor: (audience: unknown): KeyAlgorithm | undefined => {
      if (by.size === 0) return undefined
      return Array.isArray(audience) ? audience.map(of).find((one) => one !== undefined) : of(audience)
    },
  }
}

function planOf(settings: Settings, rotates: boolean): KeyPlan {
  const { algorithm, keys } = settings.issuer
  return {
    algorithm,
    also: signingOf(settings).algorithms.filter((one) => one !== algorithm),
    publishBeforeMs: keys.publish_before,
    rotateEveryMs: rotates ? keys.rotate_every : Number.POSITIVE_INFINITY,
    keepForMs: rotates ? longestLifeMs(settings) : Number.POSITIVE_INFINITY,
    settleMs,
  }
}

async function openFile(path: string): Promise<KeyFile> {
  try {
    return await openKeyFile(path)
  } catch (cause) {
    if (cause instanceof KeyFileRefused) throw new StartRefused([`issuer.keys.file: ${cause.message}`])
    throw cause
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
  { url, ring, algorithms }: IssuerParts,
  { listen }: Settings,
  loaded: () => Loaded,
  metrics: Pick<Metrics, 'request'>,
  tokenService: () => object | undefined,
) {
  if (!listen.issuer) return undefined
  return issuerEndpoints({
    issuer: url,
    jwks: () => ring()?.jwks() ?? { keys: [] },
    algorithms,
    keys: () => ring()?.list() ?? [],
    tokenService,
    protectedResource: composeProtectedResource(loaded, url),
    tls: listen.issuer.tls.mode !== 'none',
    observe: metrics.request,
  })
}
