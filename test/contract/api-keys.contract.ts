import { deepEqual, equal, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ApiKeyRecord, type ApiKeyStore, apiKeyKept, type Change, type State } from '../../src/core/ports.ts'
import { until } from '../support/until.ts'

const now = () => Math.floor(Date.now() / 1000)
const soon = 1000

const record = (id: string, more: Partial<ApiKeyRecord> = {}): ApiKeyRecord => ({
  id,
  digest: id.padEnd(64, '0'),
  validator: 'partners',
  name: `grüße an ${id}`,
  owner: 'o\'clock, "x"\n✓',
  roles: ['viewer', 'a,b'],
  scopes: ['invoke:sandbox:*'],
  createdAt: now(),
  createdBy: 'admin',
  expiresAt: undefined,
  revokedAt: undefined,
  ...more,
})

async function listAll({ list }: ApiKeyStore, after?: string): Promise<{ entries: ApiKeyRecord[]; cursor: string; longest: number }> {
  const entries: ApiKeyRecord[] = []
  let longest = 0
  for (let cursor = after; ; ) {
    const page = await list(cursor)
    entries.push(...page.entries)
    longest = Math.max(longest, page.entries.length)
    if (!page.more) return { entries, cursor: page.cursor, longest }
    cursor = page.cursor
  }
}
const ids = (entries: readonly ApiKeyRecord[]) => entries.map(({ id }) => id)

/** What every driver must do with API keys. */
export function apiKeysContract(open: (realm: string) => Promise<State>): void {
  it('lists API keys as they were appended, with all that they say', async () => {
    const [{ apiKeys: one }, { apiKeys: two }] = [await open('api'), await open('api')]
    const [first, second] = [record('one'), record('two', { expiresAt: now() + 60, roles: [], scopes: [], name: '' })]
    await one.append(first)
    await two.append(second)
    deepEqual((await listAll(one)).entries, [first, second])
    deepEqual((await listAll(two)).entries, [first, second])
  })

  it('tells only what was appended since, a revoked key again, and never takes a revocation back', async () => {
    const [{ apiKeys: one }, { apiKeys: two }] = [await open('api-since'), await open('api-since')]
    await one.append(record('a'))
    await one.append(record('b'))
    const { cursor } = await listAll(two)
    deepEqual((await listAll(two, cursor)).entries, [])
    const revoked = record('a', { revokedAt: now() })
    await one.append(revoked)
    const since = await listAll(two, cursor)
    deepEqual(since.entries, [revoked])
    await one.append(record('a'))
    const all = (await listAll(two)).entries
    ok(all.some(({ id, revokedAt }) => id === 'a' && revokedAt !== undefined))
    deepEqual(
      all.filter(({ id }) => id === 'b').map(({ revokedAt }) => revokedAt),
      [undefined],
    )
  })

  it('keeps API keys of two realms apart', async () => {
    const [one, two] = [await open('api-1'), await open('api-2')]
    const heard: Change[] = []
    two.feed.subscribe((change) => heard.push(change))
    await one.apiKeys.append(record('a'))
    await one.apiKeys.noteUsed(new Map([['a', now()]]))
    deepEqual((await listAll(two.apiKeys)).entries, [])
    equal((await two.apiKeys.lastUsed(['a'])).size, 0)
    await sleep(250)
    deepEqual(heard, [])
  })

  it('tells other handles of a new and of a revoked API key within a second, again and again', async () => {
    const [one, two] = [await open('api-told'), await open('api-told')]
    const heard: Change[] = []
    two.feed.subscribe((change) => heard.push(change))
    for (const [i, each] of [record('a'), record('a', { revokedAt: now() }), record('b')].entries()) {
      // What is changed before the last change has been looked at is told with that one.
      await sleep(100)
      heard.length = 0
      await one.apiKeys.append(each)
      await until(`change ${i}`, () => heard.some(({ kind }) => kind === 'api-keys'), soon)
    }
  })

  it('tells a long list of API keys in pages', async () => {
    const { apiKeys } = await open('api-long')
    const all = Array.from({ length: 2300 }, (_, i) => `k${String(i).padStart(5, '0')}`)
    for (let i = 0; i < all.length; i += 100) await Promise.all(all.slice(i, i + 100).map((id) => apiKeys.append(record(id))))
    const { entries, longest } = await listAll(apiKeys)
    deepEqual(ids(entries), all)
    ok(longest <= 1000, `${longest} at once`)
  }).timeout(60_000)

  it('keeps when API keys were last used', async () => {
    const [{ apiKeys: one }, { apiKeys: two }] = [await open('api-used'), await open('api-used')]
    await one.noteUsed(new Map())
    deepEqual(await one.lastUsed([]), new Map())
    deepEqual(await one.lastUsed(['a']), new Map())
    await one.noteUsed(
      new Map([
        ['a', 100],
        ['__proto__', 200],
      ]),
    )
    await two.noteUsed(new Map([['a', 160]]))
    deepEqual(
      await one.lastUsed(['b', '__proto__', 'a']),
      new Map([
        ['__proto__', 200],
        ['a', 160],
      ]),
    )
  })

  it('does not forget a key that ended a while ago', async () => {
    const { apiKeys } = await open('api-ended')
    const ended = now() - apiKeyKept + 60
    await apiKeys.append(record('expired', { expiresAt: ended }))
    await apiKeys.append(record('revoked', { revokedAt: ended }))
    await apiKeys.append(record('b'))
    deepEqual(ids((await listAll(apiKeys)).entries), ['expired', 'revoked', 'b'])
  })
}
