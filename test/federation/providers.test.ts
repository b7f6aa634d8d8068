import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parse } from 'yaml'
import type { SubjectAnswer } from '../../src/issuer/subject-token.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { type Federation, keyPair, type Members, openFederation, type Provider, type Recorded, startProvider } from './rig.ts'

interface Case {
  readonly name: string
  /** Merged over the recorded claims, null leaves one out; times are seconds from now. */
  readonly claims?: Members
  readonly header?: Members
  /** Signed by a key that the provider does not have. */
  readonly forged?: boolean
}

/** `providers/<name>.yaml`, for the rules of the guide of that name; `@issuer@` is where the provider is. */
interface Cases {
  /** Folder under test/identity/providers that holds the recording. */
  readonly recorded: string
  /** What the recording has in other members, for a token of another kind. */
  readonly claims?: Members
  /** The rule that admits unless a case says otherwise. */
  readonly rule: string
  readonly admitted: readonly (Case & { readonly subject: string; readonly by?: string; readonly roles?: readonly string[] })[]
  readonly refused: readonly (Case & { readonly because: string; readonly kind?: SubjectAnswer['kind'] })[]
}

const folder = new URL('providers/', import.meta.url)
const guides = new URL('../../docs/guides/federation/', import.meta.url)
const recording = new URL('../identity/providers/', import.meta.url)

/** The rules that a guide shows: with the issuer of the test, and its key set in place of the bundle. */
function rulesOf(guide: string, issuer: string, bundle: string): Members[] {
  const [, shown = ''] = /```yaml postern\+\n([\s\S]*?)```/.exec(readFileSync(new URL(guide, guides), 'utf8')) ?? []
  const { issuer: settings } = parse(shown) as { issuer: { federation: { issuer?: string; jwks?: { file?: string } }[] } }
  return settings.federation.map(({ jwks, ...rule }) => ({
    ...rule,
    ...(rule.issuer !== undefined && { issuer }),
    ...(jwks?.file !== undefined && { jwks: { file: bundle } }),
  }))
}

for (const file of readdirSync(folder)) {
  const cases = parse(readFileSync(new URL(file, folder), 'utf8')) as Cases
  const recorded = JSON.parse(readFileSync(new URL(`${cases.recorded}/claims.json`, recording), 'utf8')) as Recorded

  const guide = file.replace('.yaml', '.md')
  describe(`federation as ${guide} has it`, () => {
    let provider: Provider
    let federation: Federation
    let files: TemporaryFolder
    before(async () => {
      files = temporaryFolder()
      const discovery = readFileSync(new URL(`${cases.recorded}/discovery.json`, recording), 'utf8')
      const payload = Object.fromEntries(Object.entries({ ...recorded.payload, ...cases.claims }).filter(([, value]) => value !== null))
      provider = await startProvider({ ...recorded, payload: payload as Recorded['payload'] }, discovery)
      writeFileSync(files.file('bundle.json'), JSON.stringify(provider.keySet))
      federation = await openFederation(rulesOf(guide, provider.url, files.file('bundle.json')))
    })
    after(async () => {
      await federation?.close()
      await provider?.stop()
      files.remove()
    })

    const ask = ({ claims, header, forged }: Case): Promise<SubjectAnswer> =>
      federation.ask(provider.token({ claims, header, ...(forged && { key: keyPair(recorded.key.kty).privateKey }) }))

    for (const { subject, by, roles, ...one } of cases.admitted)
      it(`admits ${one.name}`, async () => {
        const answer = await ask(one)
        assert.equal(answer.kind, 'subject', answer.kind === 'subject' ? '' : JSON.stringify(answer))
        assert.ok(answer.kind === 'subject')
        assert.deepEqual(answer.subject.by, { kind: 'federation', name: by ?? cases.rule })
        assert.equal(answer.subject.subject, subject)
        if (roles) assert.deepEqual(answer.subject.roles, roles)
        assert.equal(answer.subject.expiresAt, answer.subject.claims['exp'])
        assert.deepEqual(answer.subject.grants, { audiences: ['postern'], ttl: 600 })
      })
    for (const { because, kind = 'refused', ...one } of cases.refused)
      it(`refuses ${one.name}`, async () => {
        const answer = await ask(one)
        assert.equal(answer.kind, kind)
        assert.match('detail' in answer ? answer.detail : '', new RegExp(because))
      })

    it('refuses what every provider could be attacked with', async () => {
      const hmac = generateKeyPairSync('ed25519').privateKey
      const attacks: readonly [Case, RegExp][] = [
        [{ name: 'alg none', header: { alg: 'none' } }, /alg is none of/],
        [{ name: 'HMAC', header: { alg: 'HS256' } }, /alg is none of/],
        [{ name: 'a key that it does not have', header: { kid: 'else' } }, /no key of the issuer/],
        [{ name: 'a critical extension', header: { crit: ['exp'] } }, /crit/],
        [{ name: 'a logout token', header: { typ: 'logout+jwt' } }, /typ is none of/],
        [{ name: 'a key of its own', header: { jwk: hmac.export({ format: 'jwk' }) }, forged: true }, /signature does not verify/],
        [{ name: 'no audience', claims: { aud: null } }, /aud holds none of/],
        [{ name: 'an audience that only contains ours', claims: { aud: 'https://agents.acme.example.evil' } }, /aud holds none of/],
        [{ name: 'expired a minute ago', claims: { exp: -61 } }, /expired/],
        [{ name: 'expired just now, where skew would do', claims: { exp: -5 } }, /expired/],
        [{ name: 'without an end', claims: { exp: null } }, /exp is missing/],
        [{ name: 'from the future', claims: { iat: 120 } }, /in the future/],
        [{ name: 'not valid yet', claims: { nbf: 120 } }, /not valid yet/],
        [{ name: 'bound to a key that cannot be proved', claims: { cnf: { kid: 'x' } } }, /cnf/],
      ]
      for (const [one, because] of attacks) {
        const answer = await ask(one)
        assert.equal(answer.kind, 'refused', one.name)
        assert.match(answer.kind === 'refused' ? answer.detail : '', because, one.name)
      }
    })
  })
}
