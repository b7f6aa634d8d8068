import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { createIds } from '../../src/adapters/ids.ts'
import { openMemoryState } from '../../src/adapters/memory-state.ts'
import { createCheck } from '../../src/check/check.ts'
import { composeValidators } from '../../src/compose/identity.ts'
import { Pool } from '../../src/compose/pool.ts'
import { composeProof } from '../../src/compose/proof.ts'
import { composeRuling } from '../../src/compose/ruling.ts'
import { faultText } from '../../src/config/faults.ts'
import { readPolicy } from '../../src/config/read.ts'
import { makeApiKey } from '../../src/core/api-key.ts'
import { BearerToken } from '../../src/core/bearer-token.ts'
import { isJsonObject, type JsonObject } from '../../src/core/json.ts'
import { ownerLabelValue } from '../../src/core/ownership.ts'
import type { ApiKeyRecord } from '../../src/core/ports.ts'
import { bareDenial } from '../../src/wire/bare-denial.ts'
import { createCheckHandler } from '../../src/wire/check-handler.ts'
import type { CheckRequestMessage, StructMessage } from '../../src/wire/messages.ts'
import { servedProtos } from '../../src/wire/protos.ts'
import { jsonToStruct, structToJson } from '../../src/wire/struct.ts'

/** A request as its parts, before it is written as a CheckRequest. */
export interface Asked {
  readonly method: string
  readonly host: string
  /** Without the query. */
  readonly path: string
  /** With its `?`, or empty. */
  readonly query: string
  /** In order; a name may come several times, in any case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** What Envoy's jwt_authn verified, by metadata key. */
  readonly verified: Readonly<Record<string, JsonObject>>
  /** `source.principal`. */
  readonly peer: string
  /** How the headers are sent. */
  readonly form: 'headers' | 'header_map' | 'raw'
}

/** What was decided, as Envoy is told. */
export interface Decided {
  readonly allowed: boolean
  readonly reason: string
  /** Whose request it is, where it went and about what: what no spelling may change. */
  readonly who: JsonObject
  /** Headers set for the upstream, the decision's id left out. */
  readonly set: Readonly<Record<string, string>>
  readonly removed: readonly string[]
  readonly removedQuery: readonly string[]
  /** Of a denial; 0 of an allow. */
  readonly status: number
  /** What the client of a denial is told, beside the status. */
  readonly said: readonly (readonly [name: string, value: string])[]
  /** Milliseconds from the message to the answer. */
  readonly ms: number
  /** The whole answer, a byte a character. */
  readonly bytes: string
}

/** The stages that serve, with everything in memory. */
export interface Pipeline {
  readonly decide: (asked: Asked) => Promise<Decided>
  readonly close: () => Promise<void>
}

/** Milliseconds since the epoch: the time of every request. */
export const now = 1_800_000_000_000
const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** A JWT by the key of the issuer, or of a stranger; its payload may be any text. */
export function signed(payload: string, by: 'issuer' | 'stranger' = 'issuer', header = '{"alg":"ES256","kid":"k1"}'): string {
  const key: KeyObject = by === 'issuer' ? signing.privateKey : stranger.privateKey
  const input = `${Buffer.from(header).toString('base64url')}.${Buffer.from(payload).toString('base64url')}`
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

/** Keys of carol (alive) and dave (revoked): the same in every run, so that a seed brings its inputs back. */
export const apiKey = { carol: makeApiKey((size) => Buffer.alloc(size, 7)), dave: makeApiKey((size) => Buffer.alloc(size, 9)) }
const keyRecords = new Map(
  Object.entries(apiKey).map(([owner, key]): [string, ApiKeyRecord] => {
    const digest = createHash('sha256').update(key).digest('hex')
    const revokedAt = owner === 'dave' ? now / 1000 - 5 : undefined
    const fixed = { validator: 'partners', name: '', roles: [], scopes: [], createdAt: 0, createdBy: 'test', expiresAt: undefined }
    return [digest, { ...fixed, id: owner, digest, owner, revokedAt }]
  }),
)
export const sharedSecret = '0123456789abcdef0123456789abcdef'
export const ingress = 'spiffe://cluster.local/ns/istio-system/sa/ingress'
export const router = 'spiffe://cluster.local/ns/agents/sa/router'

/** Who owns what: `s-<owner>` is theirs; `s-nobody` has no owner, and whatever else is named is not known. */
export const owners = ['alice', 'bob', 'here:alice', 'here:bob', 'key:carol', 'legacy:erin', `workload:${router}`, 'mesh:frank']
export const idOf = (owner: string): string => `s-${owner.replace(/[^a-z]/g, '-')}`
const labels = new Map(
  owners.map((owner) => [
    idOf(owner),
    new Map([
      ['agentcube.io/owner', ownerLabelValue(owner)],
      ['tier', owner.endsWith('alice') ? 'gold' : 'basic'],
    ]),
  ]),
)
labels.set('s-nobody', new Map([['tier', 'gold']]))

/** Opens the stages with test/fuzz/policy.yaml. */
export async function openPipeline(): Promise<Pipeline> {
  const read = await readPolicy({ file: fileURLToPath(new URL('policy.yaml', import.meta.url)), env: {} })
  if (!read.ok) throw new Error(read.faults.map(faultText).join('\n'))
  const { policy, settings } = read.loaded
  const state = await openMemoryState({ realm: settings.realm })
  const keys = {
    find: (_: unknown, alg: string) => (alg === 'ES256' ? { kind: 'key' as const, key: signing.publicKey } : { kind: 'unknown' as const }),
  }
  const ruling = composeRuling({
    policy,
    validators: composeValidators(settings, {
      jwks: new Pool(() => {}),
      issuer: undefined,
      keys,
      apiKeys: { find: (digest) => keyRecords.get(digest), used: () => {} },
    }),
    revocations: { check: () => 'clear' },
    owners: { labels: (_, resource, id) => ({ labels: resource === 'sandbox' ? labels.get(id) : undefined, cache: 'hit' }) },
    tokens: {
      obtain: ({ principal, audience, resource }) => {
        const text = Buffer.from(JSON.stringify([principal.subject, principal.issuer, audience, resource])).toString('base64url')
        return { kind: 'token', token: BearerToken.of(text)!, cache: 'hit' }
      },
    },
    prove: await composeProof(settings, { state, secrets: new Pool(() => {}) }),
    clock: { due: () => false, ran: () => {}, waited: () => {} },
    onRejection: () => {},
  })
  const handle = createCheckHandler({
    check: createCheck({ ruling: () => ruling, observe: () => {}, newId: createIds(), clock: () => now }),
    refuse: (reason) => bareDenial(reason),
    maxInFlight: 1024,
    maxMessage: 1024 * 1024,
    maxDeadlineMs: 60_000,
    turns: { waitedMs: () => 0 },
  })
  const decide = async (asked: Asked): Promise<Decided> => {
    const message = written(asked)
    const begun = performance.now()
    const answer = await handle(message, 60_000)
    return decided(answer, performance.now() - begun)
  }
  return { decide, close: () => state.close() }
}

const { check: codec } = servedProtos()

function written({ method, host, path, query, headers, verified, peer, form }: Asked): Buffer {
  const pseudo = [
    [':method', method],
    [':authority', host],
    [':path', path + query],
    [':scheme', 'https'],
  ] as const
  const fields = [...pseudo, ...headers]
  const message: CheckRequestMessage = {
    attributes: {
      source: { principal: peer },
      request: {
        http: {
          method,
          host,
          path: path + query,
          scheme: 'https',
          ...(form === 'headers'
            ? { headers: joined(fields) }
            : {
                header_map: {
                  headers: fields.map(([key, value]) => (form === 'raw' ? { key, raw_value: Buffer.from(value) } : { key, value })),
                },
              }),
        },
      },
      metadata_context: {
        filter_metadata: {
          'envoy.filters.http.jwt_authn': {
            fields: Object.fromEntries(Object.entries(verified).map(([key, payload]) => [key, { struct_value: jsonToStruct(payload) }])),
          },
        },
      },
    },
  }
  return codec.requestSerialize(message)
}

/** As Envoy writes them: lower case, and those of one name joined. */
function joined(fields: Asked['headers']): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, value] of fields) {
    const key = name.toLowerCase()
    out[key] = Object.hasOwn(out, key) ? `${out[key]},${value}` : value
  }
  return out
}

/** What no spelling of a request may change. */
const facts = ['route', 'subject', 'issuer', 'roles', 'workload', 'resource', 'owner_match', 'audience', 'realm', 'enforced']

function decided(bytes: Buffer, ms: number): Decided {
  const { status, ok_response: ok, denied_response: denied, dynamic_metadata: struct } = codec.responseDeserialize(bytes)
  const metadata = structToJson((struct ?? {}) as StructMessage) ?? {}
  const set: Record<string, string> = {}
  for (const { header } of ok?.headers ?? []) if (header.key !== 'x-postern-decision') set[header.key] = header.value
  return {
    allowed: (status?.code ?? 0) === 0,
    reason: String(metadata['reason']),
    who: Object.fromEntries(facts.flatMap((name) => (Object.hasOwn(metadata, name) ? [[name, metadata[name]!]] : []))),
    set,
    removed: ok?.headers_to_remove ?? [],
    removedQuery: ok?.query_parameters_to_remove ?? [],
    status: denied?.status.code ?? 0,
    said: (denied?.headers ?? []).map(({ header }) => [header.key, header.value] as const),
    ms,
    bytes: bytes.toString('latin1'),
  }
}

/** The JSON object that a text holds, the last of several members of one name counting, as most parsers have it. */
export function parsed(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : {}
  } catch {
    return {}
  }
}
