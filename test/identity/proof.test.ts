import { equal, match, ok, rejects, throws } from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { memoryReplays } from '../../src/adapters/memory-replays.ts'
import { readConfirmation } from '../../src/core/confirmation.ts'
import { createNonces } from '../../src/core/dpop-nonce.ts'
import type { Routed } from '../../src/core/facts.ts'
import { type ReplayStore, Unavailable } from '../../src/core/ports.ts'
import type { ProofDemand } from '../../src/core/proof.ts'
import type { Challenge, Deny } from '../../src/core/reasons.ts'
import type { Route } from '../../src/core/route.ts'
import { createProof } from '../../src/identity/proof.ts'
import type { DpopOptions } from '../../src/identity/proof-dpop.ts'
import { aProof, ec, ed, publicJwk, rules, seconds, thumbprintOf, token } from '../core/dpop-proofs.ts'
import { anEntry, aPrincipal, aRequest } from '../support/facts.ts'

const authority = makeAuthority('Proof test')
const leaf = issueCertificate(authority, { commonName: 'client' }).certificate
const otherLeaf = issueCertificate(authority, { commonName: 'other' }).certificate
const urlEncoded = (pem: string) => encodeURIComponent(pem)
const x5t = Buffer.from(new X509Certificate(leaf).fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')
const jkt = thumbprintOf(publicJwk(ec.publicKey))

interface Asked {
  readonly cnf?: { readonly 'x5t#S256'?: string; readonly jkt?: string }
  readonly binding?: Route['binding']
  readonly authorization?: Route['authorization']
  readonly scheme?: string
  readonly token?: string
  readonly byCertificate?: boolean
  readonly certificate?: string
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly host?: string
}

function demand(asked: Asked): ProofDemand {
  const { scheme = 'dpop', cnf, binding = 'none', authorization = 'replace' } = asked
  const text = asked.token ?? token
  const headers = { authorization: `${scheme} ${text}`, 'x-forwarded-proto': 'https', ...asked.headers }
  const shown = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ''))
  const request = Object.assign(aRequest({ host: asked.host ?? 'api.example', path: '/v1/things?x=y', headers: shown }), {
    peerCertificate: asked.certificate ?? '',
  })
  const { route } = anEntry('GET /v1/things', { binding, authorization })
  const target = { method: 'GET', host: 'api.example', path: '/v1/things', segments: ['v1', 'things'], query: 'x=y', encodedSlash: false }
  const confirmation = cnf && readConfirmation(cnf)
  return {
    state: { request, route, target, now: seconds * 1000 } as unknown as Routed,
    principal: aPrincipal(confirmation ? { confirmation } : {}),
    scheme,
    token: text,
    byCertificate: asked.byCertificate ?? false,
  }
}

const proving = (over: Partial<DpopOptions> = {}) =>
  createProof({ ...rules, replays: memoryReplays(1000, () => seconds * 1000), nonces: undefined, ...over })

/** What comes of one demand, which has to come at once. */
function outcome(asked: Asked, over: Partial<DpopOptions> = {}): Deny | undefined {
  const found = proving(over)(demand(asked))
  ok(!(found instanceof Promise), 'memory answers at once')
  return found
}

const dpop = aProof()
const challenges: Readonly<Record<string, Challenge | undefined>> = {
  none: undefined,
  token: { scheme: 'DPoP', error: 'invalid_token' },
  proof: { scheme: 'DPoP', error: 'invalid_dpop_proof' },
}

type Case = readonly [what: string, asked: Asked, said: RegExp | 'proved', challenge?: keyof typeof challenges]

const mtls: readonly Case[] = [
  ['the certificate that the token is bound to', { scheme: 'bearer', cnf: { 'x5t#S256': x5t }, certificate: urlEncoded(leaf) }, 'proved'],
  [
    'the same in another URL encoding',
    { scheme: 'bearer', cnf: { 'x5t#S256': x5t }, certificate: leaf.replaceAll('\n', '%0a').replaceAll('+', '%2b') },
    'proved',
  ],
  [
    'a chain, of which the first counts',
    { scheme: 'bearer', cnf: { 'x5t#S256': x5t }, certificate: urlEncoded(leaf + otherLeaf) },
    'proved',
  ],
  [
    'a chain, of which the second does not count',
    { scheme: 'bearer', cnf: { 'x5t#S256': x5t }, certificate: urlEncoded(otherLeaf + leaf) },
    /another client certificate/,
  ],
  ['another certificate', { scheme: 'bearer', cnf: { 'x5t#S256': x5t }, certificate: urlEncoded(otherLeaf) }, /another client certificate/],
  ['no certificate', { scheme: 'bearer', cnf: { 'x5t#S256': x5t } }, /include_peer_certificate/],
  ['what is no certificate', { scheme: 'bearer', cnf: { 'x5t#S256': x5t }, certificate: 'nothing' }, /another client certificate/],
  [
    'broken URL encoding',
    { scheme: 'bearer', cnf: { 'x5t#S256': x5t }, certificate: `${urlEncoded(leaf)}%` },
    /another client certificate/,
  ],
  ['a token of Envoy’s word alone', { scheme: '', token: '', cnf: { 'x5t#S256': x5t }, certificate: urlEncoded(leaf) }, 'proved'],
  ['the scheme DPoP', { cnf: { 'x5t#S256': x5t }, certificate: urlEncoded(leaf) }, /not bound to a key/, 'token'],
]

const dpopCases: readonly Case[] = [
  ['a proof', { cnf: { jkt }, headers: { dpop } }, 'proved'],
  ['a proof, and no Authorization, as with a cookie', { scheme: 'bearer', cnf: { jkt }, headers: { dpop, authorization: '' } }, 'proved'],
  [
    'no proof where the token stands in a cookie',
    { scheme: 'bearer', cnf: { jkt }, headers: { authorization: '' } },
    /no DPoP header/,
    'proof',
  ],
  ['the scheme Bearer', { scheme: 'bearer', cnf: { jkt }, headers: { dpop } }, /scheme is not DPoP/, 'token'],
  [
    'another’s Authorization beside a token that stands elsewhere',
    { scheme: 'bearer', authorization: 'keep', cnf: { jkt }, headers: { dpop, authorization: 'Basic bWU6bWU=' } },
    'proved',
  ],
  [
    'a password of the scheme Basic',
    { scheme: 'bearer', cnf: { jkt }, headers: { dpop, authorization: 'Basic bWU6bWU=' } },
    /scheme is not DPoP/,
    'token',
  ],
  ['a token that is bound to nothing', { headers: { dpop } }, /not bound to a key/, 'token'],
  ['no proof', { cnf: { jkt } }, /no DPoP header/, 'proof'],
  ['an empty proof', { cnf: { jkt }, headers: { dpop: [''] } }, /no DPoP header/, 'proof'],
  ['two proofs', { cnf: { jkt }, headers: { dpop: [dpop, aProof({ payload: { jti: 'two' } })] } }, /more than one DPoP/, 'proof'],
  ['two proofs that Envoy joined', { cnf: { jkt }, headers: { dpop: `${dpop},${dpop}` } }, /more than one DPoP/, 'proof'],
  ['a proof with another key', { cnf: { jkt }, headers: { dpop: aProof({ keys: ed }) } }, /another key/, 'proof'],
  [
    'a token that Envoy did not forward',
    { cnf: { jkt }, scheme: '', token: '', headers: { dpop, authorization: '' } },
    /forward: true/,
    'proof',
  ],
  ['a proof for http', { cnf: { jkt }, headers: { dpop, 'x-forwarded-proto': 'http' } }, /htu/, 'proof'],
  ['no outer scheme', { cnf: { jkt }, headers: { dpop, 'x-forwarded-proto': '' } }, /x-forwarded-proto/, 'proof'],
  ['two outer schemes', { cnf: { jkt }, headers: { dpop, 'x-forwarded-proto': 'https,http' } }, /x-forwarded-proto/, 'proof'],
  ['an odd outer scheme', { cnf: { jkt }, headers: { dpop, 'x-forwarded-proto': 'HTTPS' } }, /x-forwarded-proto/, 'proof'],
  ['no host', { cnf: { jkt }, host: '', headers: { dpop } }, /names no host/, 'proof'],
  ['another host', { cnf: { jkt }, host: 'other.example', headers: { dpop } }, /htu/, 'proof'],
  ['the default port in the host', { cnf: { jkt }, host: 'API.example:443', headers: { dpop } }, 'proved'],
  ['another port', { cnf: { jkt }, host: 'api.example:8443', headers: { dpop } }, /htu/, 'proof'],
]

const both = { jkt, 'x5t#S256': x5t }
const bindings: readonly Case[] = [
  ['mtls: a bound token', { binding: 'mtls', scheme: 'bearer', cnf: { 'x5t#S256': x5t }, certificate: urlEncoded(leaf) }, 'proved'],
  ['mtls: the client certificate itself', { binding: 'mtls', scheme: '', token: '', byCertificate: true }, 'proved'],
  ['mtls: an unbound token', { binding: 'mtls', scheme: 'bearer', certificate: urlEncoded(leaf) }, /x5t#S256/],
  ['mtls: a token that is bound to a key', { binding: 'mtls', cnf: { jkt }, headers: { dpop } }, /x5t#S256/],
  ['dpop: a bound token', { binding: 'dpop', cnf: { jkt }, headers: { dpop } }, 'proved'],
  ['dpop: an unbound token', { binding: 'dpop', scheme: 'bearer', headers: { dpop } }, /cnf.jkt/, 'token'],
  [
    'dpop: a token that is bound to a certificate',
    { binding: 'dpop', scheme: 'bearer', cnf: { 'x5t#S256': x5t }, certificate: urlEncoded(leaf) },
    /cnf.jkt/,
    'token',
  ],
  ['dpop: the client certificate itself', { binding: 'dpop', scheme: '', token: '', byCertificate: true }, /cnf.jkt/, 'token'],
  [
    'a token that is bound twice, and both proved',
    { binding: 'mtls', cnf: both, certificate: urlEncoded(leaf), headers: { dpop } },
    'proved',
  ],
  [
    'a token that is bound twice, without the proof',
    { binding: 'mtls', cnf: both, certificate: urlEncoded(leaf) },
    /no DPoP header/,
    'proof',
  ],
  ['a token that is bound twice, without the certificate', { binding: 'dpop', cnf: both, headers: { dpop } }, /include_peer_certificate/],
]

function tell(title: string, cases: readonly Case[]): void {
  describe(title, () => {
    for (const [what, asked, said, challenge = 'none'] of cases)
      it(what, () => {
        const found = outcome(asked)
        if (said === 'proved') return equal(found?.detail, undefined)
        equal(found?.reason, 'invalid_credential')
        match(found.detail, said)
        equal(JSON.stringify(found.challenge), JSON.stringify(challenges[challenge]))
      })
  })
}

tell('proof by the client certificate (RFC 8705, section 3)', mtls)
tell('proof by DPoP (RFC 9449, sections 4.3 and 7)', dpopCases)
tell('what a route demands (binding)', bindings)

describe('the confirmation of a token (RFC 7800)', () => {
  it('may name a certificate, a key, or both, and no other way to prove it', () => {
    ok(readConfirmation({ 'x5t#S256': x5t }))
    ok(readConfirmation({ jkt }))
    ok(readConfirmation(both))
    // As Keycloak 26 writes it.
    equal(readConfirmation({ jkt, 'kc-jkt-type': 'DPoP' })?.jkt, jkt)
    const bad = [
      ...[{}, null, 'x', [], { jkt: 1 }, { jkt: null }, { jkt: '' }, { jkt: `${jkt}=` }, { jkt, 'x5t#S256': '' }],
      ...['jwk', 'jwe', 'jku', 'kid', 'osc'].map((method) => ({ jkt, [method]: 'x' })),
      { 'x5t#S1': x5t },
      { JKT: jkt },
    ]
    for (const cnf of bad) equal(readConfirmation(cnf as never), undefined, JSON.stringify(cnf))
  })
})

describe('a proof that was used', () => {
  it('is refused, and one that was refused has not been used', () => {
    const prove = proving()
    const wrong = prove(demand({ cnf: { jkt }, headers: { dpop, 'x-forwarded-proto': 'http' } })) as Deny
    match(wrong.detail, /htu/)
    equal(prove(demand({ cnf: { jkt }, headers: { dpop } })), undefined)
    const again = prove(demand({ cnf: { jkt }, headers: { dpop } })) as Deny
    match(again.detail, /used before/)
    equal(again.challenge?.error, 'invalid_dpop_proof')
  })

  it('is the same one in another encoding of the signature, or signed again with the same jti', () => {
    const prove = proving()
    equal(prove(demand({ cnf: { jkt }, headers: { dpop } })), undefined)
    match((prove(demand({ cnf: { jkt }, headers: { dpop: aProof() } })) as Deny).detail, /used before/)
    equal(prove(demand({ cnf: { jkt }, headers: { dpop: aProof({ payload: { jti: 'two' } }) } })), undefined)
  })

  it('does not take the jti of another key', () => {
    const prove = proving()
    equal(prove(demand({ cnf: { jkt }, headers: { dpop } })), undefined)
    equal(prove(demand({ cnf: { jkt: thumbprintOf(publicJwk(ed.publicKey)) }, headers: { dpop: aProof({ keys: ed }) } })), undefined)
  })

  it('is asked of the store for as long as it could be shown again, and only where all else is right', () => {
    const claimed: number[] = []
    const replays: ReplayStore = {
      claim: (_, until) => {
        claimed.push(until)
        return true
      },
    }
    for (const { 1: asked, 2: said } of [...dpopCases, ...mtls]) if (said !== 'proved') outcome(asked, { replays })
    equal(claimed.length, 0)
    outcome({ cnf: { jkt }, headers: { dpop } }, { replays })
    equal(claimed[0], seconds + 60 + 60)
  })

  it('waits for a store that is elsewhere, and is an outage where that does not answer', async () => {
    const later = (answer: boolean): ReplayStore => ({ claim: async () => answer })
    const asked = demand({ cnf: { jkt }, headers: { dpop } })
    equal(await proving({ replays: later(true) })(asked), undefined)
    match((await proving({ replays: later(false) })(asked))?.detail ?? '', /used before/)
    const down: ReplayStore = { claim: () => Promise.reject(new Unavailable('down')) }
    await rejects(async () => proving({ replays: down })(asked), Unavailable)
  })
})

describe('a nonce (RFC 9449, section 8)', () => {
  const nonces = createNonces(Buffer.alloc(32, 1), 'default', 60_000)
  const over = { nonces: () => nonces }
  const nonce = nonces.current(seconds * 1000)

  it('is given out with the refusal of a proof without one, or with an old one, which is not used up', () => {
    const prove = proving(over)
    for (const payload of [{}, { nonce: 'made-up' }, { nonce: nonces.current((seconds - 180) * 1000) }]) {
      const found = prove(demand({ cnf: { jkt }, headers: { dpop: aProof({ payload }) } })) as Deny
      equal(found.reason, 'invalid_credential')
      equal(JSON.stringify(found.challenge), JSON.stringify({ scheme: 'DPoP', error: 'use_dpop_nonce', nonce }))
    }
    equal(prove(demand({ cnf: { jkt }, headers: { dpop: aProof({ payload: { nonce } }) } })), undefined)
  })

  it('is given to nobody who proves nothing', () => {
    for (const { 1: asked, 2: said } of dpopCases) if (said !== 'proved') equal(outcome(asked, over)?.challenge?.nonce, undefined)
  })

  it('does not matter where none is asked for', () => {
    equal(outcome({ cnf: { jkt }, headers: { dpop: aProof({ payload: { nonce: 'any' } }) } }), undefined)
  })

  it('cannot be judged while the secret cannot be had: an outage', () => {
    throws(() => outcome({ cnf: { jkt }, headers: { dpop } }, { nonces: () => undefined }), Unavailable)
  })
})
