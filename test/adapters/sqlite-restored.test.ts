import { deepEqual, equal, match, ok, rejects, throws } from 'node:assert/strict'
import { copyFileSync, existsSync, renameSync } from 'node:fs'
import { backup, DatabaseSync } from 'node:sqlite'
import { openApiKeyList } from '../../src/adapters/api-key-list.ts'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { type ApiKeyRecord, type Revocation, type State, Unavailable } from '../../src/core/ports.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const revoked = (target: string): Revocation => ({ level: 'token', target, at: 1, until: 99_999_999_999 })
const gone = Math.floor(Date.now() / 1000) - 10
const key = (id: string, revokedAt?: number): ApiKeyRecord => ({
  id,
  digest: id.padEnd(64, '0'),
  validator: 'keys',
  name: '',
  owner: 'acme',
  roles: [],
  scopes: [],
  createdAt: 1,
  createdBy: 'test',
  expiresAt: undefined,
  revokedAt,
})

describe('a state file that another hand changes under a service', () => {
  let folder: TemporaryFolder
  const ends: (() => unknown)[] = []
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
    folder.remove()
  })
  const path = () => folder.file('p.db')

  const open = async () => {
    const state: State = await openSqliteState({ path: path(), realm: 'default' })
    ends.push(state.close)
    const list = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs: 1000 })
    const keys = await openApiKeyList({ store: state.apiKeys, feed: state.feed, maxStalenessMs: 1000 })
    ends.push(list.close, keys.close)
    const check = (tokenId: string) => list.check({ tokenId, subject: 'alice', issuedAt: 0 }, Date.now())
    return { state, check, keys }
  }

  it('is read from its beginning where it was restored from a backup', async () => {
    const [one, two] = [await open(), await open()]
    await one.state.apiKeys.append(key('kept'))
    await one.state.revocations.append(revoked('before'))
    const from = new DatabaseSync(path())
    await backup(from, folder.file('backup.db'))
    from.close()
    for (let i = 0; i < 20; i++) await one.state.revocations.append(revoked(`lost-${i}`))
    for (let i = 0; i < 5; i++) await one.state.apiKeys.append(key(`lost-${i}`))
    await until('the last of them', () => two.check('lost-19') === 'revoked', 1000)

    const saved = new DatabaseSync(folder.file('backup.db'))
    await backup(saved, path())
    saved.close()
    await one.state.revocations.append(revoked('after'))
    await one.state.apiKeys.append(key('kept', gone))
    await one.state.apiKeys.append(key('new'))
    await until('the one after it', () => two.check('after') === 'revoked', 1000)
    const found = (id: string) => {
      const record = two.keys.find(key(id).digest)
      return typeof record === 'string' ? record : record?.revokedAt
    }
    await until('the key that was revoked after it', () => found('kept') === gone, 1000)
    ok(two.keys.find(key('new').digest))
    // What was once heard of stays in force.
    deepEqual([two.check('before'), two.check('lost-7'), two.check('other')], ['revoked', 'revoked', 'clear'])
  })

  it('is not believed where its name leads to another file, or to none', async () => {
    const { state, check } = await open()
    await state.labels.write('sandbox', 's', new Map([['a', 'b']]))
    equal(check('t'), 'clear')
    renameSync(path(), folder.file('moved.db'))
    await rejects(state.revocations.append(revoked('t')), Unavailable)
    // Whoever asks state itself, since no near copy will do, is told nothing that was true elsewhere.
    throws(() => state.labels.read('sandbox', 's'), Unavailable)
    await rejects(state.labels.list({}, 10), Unavailable)
    ok(!existsSync(path()))
    await until('the distrust', () => check('t') === 'unavailable', 3000)
    match(state.fault() ?? '', /moved, removed or replaced/)
    copyFileSync(folder.file('moved.db'), path())
    await rejects(state.revocations.append(revoked('t')), Unavailable)
    equal(check('t'), 'unavailable')
    renameSync(folder.file('moved.db'), path())
    await until('the trust', () => check('t') === 'clear', 3000)
    equal((await state.labels.read('sandbox', 's'))?.labels.get('a'), 'b')
    await state.revocations.append(revoked('t'))
    await until('the revocation', () => check('t') === 'revoked', 1000)
    equal(state.fault(), undefined)
  })
})
