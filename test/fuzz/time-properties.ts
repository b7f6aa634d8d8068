import assert from 'node:assert/strict'
import { readJwks } from '../../src/adapters/jwks-parse.ts'
import { readCredential } from '../../src/core/credential.ts'
import { cookieValues, protocolTokens, queryTokens, withoutCookies, withoutTokens } from '../../src/core/credential-places.ts'
import { normalUri } from '../../src/core/dpop-target.ts'
import { Facts } from '../../src/core/facts.ts'
import { parsePointer } from '../../src/core/json-pointer.ts'
import { claimedIssuer, parseJwt } from '../../src/core/jwt.ts'
import { ownerLabelValue } from '../../src/core/ownership.ts'
import { parseTemplate } from '../../src/core/path-template.ts'
import { percentEncode } from '../../src/core/percent.ts'
import { splitPath } from '../../src/core/request-path.ts'
import { RouteTable } from '../../src/core/route-table.ts'
import { parseSharedWith } from '../../src/core/shared-with.ts'
import { certificateSpiffeId, parseSpiffeId } from '../../src/core/spiffe.ts'
import { basicCredentials } from '../../src/identity/basic.ts'
import { readForwardedCertificates } from '../../src/identity/forwarded-certificate.ts'
import { normalize } from '../../src/stages/normalize.ts'
import { createDecoder } from '../../src/wire/decode.ts'
import { anEntry, aPolicy, aRequest } from '../support/facts.ts'
import { type Property, property } from './property.ts'
import { idOf } from './query-id.ts'
import { length, repeated, textOf } from './repeated.ts'

/** A linear reading of {@link length} characters takes a few milliseconds; one that grows with the square takes minutes. */
const boundMs = 100

const policy = aPolicy([], { metadataKeys: ['users'] })
const received = (parts: Parameters<typeof aRequest>[0]) => normalize.run(new Facts(aRequest(parts), policy, 0, 'id'))
const decode = createDecoder()
const basic = basicCredentials('registries')
// Each level may be taken by a static segment, a parameter or a star: the look-up must not try all ways through them.
const deep = new RouteTable(
  ['/a/{p0}/*/{p1}/*/**', '/{p0}/a/{p1}/a/**', '/*/*/*/*/*/x', '/a/a/a/a/a/a/y', '/**'].map((path) => anEntry(`GET ${path}`)),
)

/** Everything that reads what a client, an issuer or a proxy wrote. */
const readers: Readonly<Record<string, (text: string) => unknown>> = {
  path: splitPath,
  'path and routes': (text) => {
    const path = splitPath(`/${text}`)
    return typeof path === 'string' ? path : deep.find('h', path.segments, path.escaped)
  },
  host: (host) => received({ host }),
  authorization: (authorization) => received({ headers: { authorization } }),
  query: (query) => received({ path: `/?${query}` }),
  'id in a query': idOf,
  'token in a query': queryTokens,
  jwt: parseJwt,
  'issuer of a token': claimedIssuer,
  credential: (text) => readCredential(text).claimedIssuer,
  basic: (text) => basic.unwrap(readCredential(`Basic ${text}`), new Set()),
  cookie: (text) => [cookieValues(text, 'session'), withoutCookies(text, ['session'])],
  websocket: (text) => [protocolTokens(text), withoutTokens(text)],
  'spiffe id': parseSpiffeId,
  'names of a certificate': certificateSpiffeId,
  'forwarded certificate': readForwardedCertificates,
  'htu of a proof': normalUri,
  'header value': percentEncode,
  'owner label': ownerLabelValue,
  'list of shares': parseSharedWith,
  'path template': parseTemplate,
  'key set': (text) => readJwks(text, ['ES256']),
  'JSON pointer': parsePointer,
  message: (text) => decode(Buffer.from(text, 'latin1')),
}

function took(reader: (text: string) => unknown, text: string): number {
  const begun = performance.now()
  reader(text)
  return performance.now() - begun
}

/** No reader takes longer than a few milliseconds, whatever is repeated how often. */
export const timeProperties: readonly Property[] = Object.entries(readers).map(([name, reader]) =>
  property(
    `time: ${name} of ${length / 1024} KiB, whatever is repeated`,
    repeated,
    (parts) => {
      const text = textOf(parts)
      // Another program may have had the processor: what is slow is slow again.
      let least = Number.POSITIVE_INFINITY
      for (let i = 0; i < 3 && least > boundMs; i++) least = Math.min(least, took(reader, text))
      assert.ok(least <= boundMs, `it took ${Math.round(least)} ms`)
    },
    { weight: 1, few: 400 },
  ),
)
