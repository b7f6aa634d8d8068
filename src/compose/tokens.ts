import { createHash } from 'node:crypto'
import type { ClientAuth } from '../adapters/client-auth.ts'
import type { DownstreamSettings, MintDownstream } from '../adapters/downstream-tokens.ts'
import { openStsClient, type StsClient } from '../adapters/sts-client.ts'
import type { Settings } from '../config/schema.ts'
import type { ClientAuthSettings } from '../config/schema-client-auth.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import { narrow } from '../core/scopes.ts'
import { clientCertificates, withCertificates } from './certificates.ts'
import type { IssuerParts } from './issuer.ts'
import type { Pool } from './pool.ts'

type Sts = Settings['sts'][string]

export interface TokensNeeds {
  readonly issuer: IssuerParts | undefined
  readonly sts: Pool<StsClient>
  readonly certificates: CertificateLoader
  /** Told the scopes of each token that is minted here. */
  readonly onMinted: (scopes: readonly string[]) => void
}

/** What makes downstream tokens under a policy. */
export function composeTokens(settings: Settings, { issuer, sts: pool, certificates, onMinted }: TokensNeeds): DownstreamSettings {
  const sts = new Map(Object.entries(settings.sts).map(([name, entry]) => [name, stsClient(name, entry, pool, certificates)]))
  const said = [issuer?.url, settings.sts, settings.identity, settings.issuer.algorithm, settings.issuer.algorithm_for]
  return {
    realm: settings.realm,
    digest: createHash('sha256').update(JSON.stringify(said)).digest('base64url'),
    // Nothing is minted for upstreams without an issuer listener: they would have no keys to verify with.
    mint: issuer && settings.listen.issuer ? minting(issuer, onMinted) : undefined,
    sts,
  }
}

const minting =
  ({ mint }: IssuerParts, onMinted: (scopes: readonly string[]) => void): MintDownstream =>
  (request) => {
    const minted = mint.downstream(request)
    if (minted) onMinted(narrow(request.principal.scopes, request.scope))
    return minted
  }

function stsClient(name: string, entry: Sts, pool: Pool<StsClient>, certificates: CertificateLoader): StsClient {
  // Secrets show as "[secret]" in JSON, and are read anew for each exchange.
  const references = [entry.auth.secret?.reference, entry.auth.private_key_jwt?.key.reference]
  return pool.get(JSON.stringify([name, entry, references]), () => {
    const source = clientCertificates(certificates, `sts.${name}`, { ca: entry.ca, ...entry.auth.mtls })
    const client = openStsClient({
      name,
      tokenEndpoint: entry.token_endpoint,
      clientId: entry.client_id,
      auth: authOf(entry.auth),
      timeoutMs: entry.timeout,
      allowOpaque: entry.allow_opaque,
      subjectsOf: entry.subjects_of,
      tls: source?.current,
    })
    return withCertificates(source, client)
  })
}

/** How a client proves itself, with secrets that are read anew for each use. */
export function authOf({ secret, private_key_jwt: assertion, mtls }: ClientAuthSettings): ClientAuth {
  if (secret) return { method: 'secret', secret: () => secret.read() }
  if (assertion) {
    const { key, kid, algorithm } = assertion
    return {
      method: 'private_key_jwt',
      key: () => key.read(),
      ...(kid === undefined ? {} : { kid }),
      ...(algorithm === undefined ? {} : { alg: algorithm }),
    }
  }
  if (mtls) return { method: 'mtls' }
  throw new Error('a client without authentication')
}
