import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Deny } from '../../src/core/reasons.ts'
import { edgeClaims } from '../../src/identity/edge-trust.ts'
import { forwardedUri, readForwardedCertificates } from '../../src/identity/forwarded-certificate.ts'
import { aRequest } from '../support/facts.ts'
import { property } from './property.ts'

const elementValue = fc.oneof(
  fc.constantFrom('spiffe://cluster.local/ns/a/sa/b', 'spiffe://evil/x', 'CN=a, O="b"', 'a;b', 'a=b', '', '"', '\\', 'x\\"'),
  fc.string({ unit: 'grapheme-ascii', maxLength: 8 }),
)
const elements = fc.array(
  fc.array(fc.tuple(fc.constantFrom('By', 'Hash', 'Subject', 'URI', 'uri', 'DNS', 'Cert', 'Chain'), elementValue), {
    minLength: 1,
    maxLength: 4,
  }),
  { minLength: 1, maxLength: 3 },
)
/** As Envoy writes it. */
const written = (list: readonly (readonly (readonly [string, string])[])[]): string =>
  list
    .map((one) => one.map(([key, value]) => `${key}=${/[,;="\\]/.test(value) ? `"${value.replace(/[\\"]/g, '\\$&')}"` : value}`).join(';'))
    .join(',')
const forged = fc.oneof(
  elements.map(written),
  fc
    .array(fc.constantFrom('URI=', 'By=', 'Subject=', '"', '\\', ',', ';', '=', 'spiffe://evil/x', 'x', ' '), { maxLength: 8 })
    .map((parts) => parts.join('')),
)
const genuine = 'spiffe://cluster.local/ns/agents/sa/client'
const nearest = fc.constantFrom(
  `By=spiffe://cluster.local/edge;Hash=ab;URI=${genuine}`,
  `Hash=ab;Subject="CN=x,O=\\"y\\"";URI=${genuine};DNS=a`,
  `URI=${genuine}`,
)

const edgeValue = fc.option(
  fc.oneof(
    fc.constantFrom(
      'frank',
      'frank,root',
      '',
      ' ',
      'admin',
      'a b',
      '\u00e4',
      '\u0000',
      '\ufffd',
      '\ud800',
      'x'.repeat(1025),
      '__proto__',
      'invoke, admin',
      ',',
      'W10',
      'W',
    ),
    fc.string({ unit: 'binary', maxLength: 8 }),
  ),
  { nil: undefined, freq: 8 },
)
const roleList = fc.jsonValue({ maxDepth: 2 }).map((value) => Buffer.from(JSON.stringify([value].flat())).toString('base64url'))
const edgeSettings = {
  validator: 'mesh',
  headers: { subject: 'x-user-id', role: 'x-user-roles', end_user: 'x-user-id', email: 'x-user-email' },
  claims: {},
  namespace: 'mesh:',
  mayAssert: undefined,
}
/** What an edge in front says of its clients. */
export const edgeProperties = [
  property(
    'forwarded certificate: read as Envoy writes it',
    elements,
    (list) => {
      const expected = list.map((one) => one.map(([key, value]) => [key.toLowerCase(), value]))
      assert.deepEqual(readForwardedCertificates(written(list)), expected)
    },
    { weight: 8 },
  ),
  property(
    'forwarded certificate: what a client sent before changes nobody',
    fc.tuple(forged, nearest),
    ([client, edge]) => {
      const found = forwardedUri(client === '' ? edge : `${client},${edge}`)
      if (found !== 'unclear') assert.equal(found, genuine)
    },
    { weight: 8 },
  ),
  property(
    'edge headers: of any kind name nobody but whom they say',
    fc.record({ subject: edgeValue, roles: fc.oneof(edgeValue, roleList), email: edgeValue, trusted: fc.boolean() }),
    ({ subject, roles, email, trusted }) => {
      const headers = Object.fromEntries(
        Object.entries({ 'x-user-id': subject, 'x-user-roles': roles, 'x-user-email': email }).filter(([, value]) => value !== undefined),
      ) as Record<string, string>
      const verdict = edgeClaims({ ...edgeSettings, edge: { name: 'mesh', headers: [], trusts: () => trusted } }).identify(
        aRequest({ headers }),
        undefined,
        0,
      )
      if (verdict === 'abstain') assert.ok(!trusted || subject === undefined)
      else if (!(verdict instanceof Deny)) {
        assert.ok(trusted && verdict.rawSubject === subject && verdict.subject === `mesh:${subject}`)
        assert.doesNotMatch(verdict.rawSubject, /[\u0000-\u001f\u007f,]/)
        for (const role of verdict.roles)
          assert.ok(
            role !== '' &&
              (roles?.includes(role) ||
                Buffer.from(roles ?? '', 'base64url')
                  .toString()
                  .includes(JSON.stringify(role))),
            role,
          )
      }
    },
    { weight: 5 },
  ),
]
