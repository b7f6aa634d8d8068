import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { type CaseClass, readCases } from './case.ts'
import { runCorpus } from './corpus.ts'
import { handedOut } from './handed.ts'
import { type Server, servePostern } from './serve.ts'
import { brokenBy, type Copy, copySources, readWeakenings } from './weaken.ts'
import { startWorld, type World } from './world.ts'

/** The classes that the corpus is there for. */
const demanded = [
  'bodies',
  'conflicts',
  'controls',
  'duplicates',
  'edge-trust',
  'failing-open',
  'headers',
  'hosts',
  'introspection',
  'look-alikes',
  'ownership',
  'page-tokens',
  'paths',
  'places',
  'proofs',
  'protocol',
  'secrets',
  'sharing',
  'spiffe-ids',
  'tenants',
  'token-caches',
  'token-services',
  'tokens',
]

const classes = readCases()
const all = classes.flatMap(({ cases }) => cases)
const only = (...names: readonly string[]): CaseClass[] => classes.filter(({ name }) => names.includes(name))

describe('the attack corpus', function () {
  this.timeout(60_000)

  describe('as data', () => {
    it('has every class, and each of them attacks', () => {
      const attacking = classes.filter(({ name, cases }) => name === 'controls' || cases.some(({ expect }) => expect !== 'allow'))
      assert.deepEqual(
        demanded.filter((name) => !attacking.some((one) => one.name === name)),
        [],
      )
      assert.ok(all.length >= 300, `${all.length} cases`)
    })

    it('names every advisory, and no other', () => {
      const listed = parse(readFileSync(fileURLToPath(new URL('advisories.yaml', import.meta.url)), 'utf8')) as Record<string, string>
      assert.deepEqual(new Set(all.flatMap(({ advisory }) => advisory)), new Set(Object.keys(listed)))
    })

    it('says of each case why, in a clause', () => {
      assert.deepEqual(
        all.filter(({ why }) => why.length < 5 || why.endsWith('.')).map(({ name }) => name),
        [],
      )
    })
  })

  describe('through Envoy', () => {
    let world: World
    let server: Server | undefined
    let handed: ReadonlyMap<string, string>
    before(async () => {
      world = await startWorld()
      server = await servePostern(world)
      handed = await handedOut(world)
    })
    after(async () => {
      await server?.stop()
      await world?.stop()
    })

    for (const one of classes) {
      it(`${one.name}: ${one.cases.length} cases`, async () => {
        const results = await runCorpus(world, [one], { strict: true, handed })
        const broken = results.filter(({ verdict }) => verdict === 'broken')
        assert.deepEqual(
          broken.map(({ case: { name }, detail }) => `${name}: ${detail.slice(0, 300)}`),
          [],
        )
        assert.equal(results.filter(({ verdict }) => verdict === 'held' || verdict === 'pending').length, one.cases.length)
      })
    }
  })

  describe('leaves behind', () => {
    let world: World
    let server: Server | undefined
    before(async () => {
      world = await startWorld()
      server = await servePostern(world)
    })
    after(async () => {
      await server?.stop()
      await world?.stop()
    })

    it('no request for a key that a token pointed to, and few for those of the issuer', async () => {
      await runCorpus(world, only('tokens'), { strict: true })
      const { asked } = world.here
      assert.equal(asked.get('/evil'), undefined)
      // At the start and for one unknown kid, by each of the two services.
      const fetches = asked.get('/jwks') ?? 0
      assert.ok(fetches >= 1 && fetches <= 4, `${fetches} fetches`)
    })

    it('an access log of whole lines', () => {
      assert.ok(world.envoy.program.stdout.length > 100)
      for (const line of world.envoy.program.stdout) assert.doesNotThrow(() => JSON.parse(line), line)
    })
  })

  describe('notices', () => {
    let world: World
    let copy: Copy
    before(async () => {
      world = await startWorld()
      copy = copySources()
    })
    after(async () => {
      copy?.remove()
      await world?.stop()
    })

    it('weakenings of every stage: each text stands where it is said', () => {
      const weakenings = readWeakenings()
      for (const one of weakenings) copy.apply(one)()
      const stages = ['normalize', 'route', 'identify', 'revocation', 'authorize', 'own', 'exchange', 'respond', 'wire']
      const validators = ['oidc', 'mtls', 'api-keys', 'shared-token', 'management-plane', 'edge-trust', 'postern', 'basic', 'introspection']
      for (const stage of [...stages, ...validators, 'proof'])
        assert.ok(
          weakenings.some((one) => one.stage === stage),
          stage,
        )
    })

    // All of them: `npm run attacks -- --weaken`.
    for (const [name, seen] of [
      ['dot segments pass', ['paths']],
      ['whoever owns it', ['ownership']],
      ['look-alikes go on', ['look-alikes']],
    ] as const) {
      it(`${name}`, async () => {
        const weakening = readWeakenings().find((one) => one.name === name)
        assert.ok(weakening)
        const undo = copy.apply(weakening)
        try {
          assert.ok((await brokenBy(world, copy, only(...seen))).length > 0)
        } finally {
          undo()
        }
      })
    }
  })
})
