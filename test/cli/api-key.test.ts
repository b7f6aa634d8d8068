import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { isWholeApiKey, makeApiKey } from '../../src/core/api-key.ts'
import type { RunningPostern } from '../support/postern.ts'
import { cli, type Ran } from './captured.ts'
import { startInitialized } from './initialized.ts'

describe('postern api-key', function () {
  this.timeout(30_000)
  let service: RunningPostern
  let at: readonly string[]
  let stop: () => Promise<void>

  before(async () => {
    const partners =
      '  - { name: partners, type: api-keys, default_role: sandbox:invoke, subject_namespace: "key:", may_assert: [sandbox:invoke] }'
    ;({ service, at, stop } = await startInitialized((policy) => policy.replace('identity:\n', `identity:\n${partners}\n`)))
  })
  after(() => stop())
  const run = (...argv: string[]): Promise<Ran> => cli(['api-key', ...argv, ...at])
  const make = async (...argv: string[]): Promise<Record<string, string>> => {
    const { code, out, err } = await run('create', '--json', ...argv)
    assert.equal(code, 0, err)
    return JSON.parse(out) as Record<string, string>
  }

  it('makes a key, and prints it alone', async () => {
    const { code, out, err } = await run('create', '--owner', 'acme', '--name', 'ci')
    assert.equal(code, 0, err)
    assert.ok(isWholeApiKey(out.trim()), out)
    assert.match(err, /^the key \S+ of key:acme: keep it now, it cannot be shown again\n$/)
  })

  it('makes one with roles, scopes and an end', async () => {
    const made = await make('--owner', 'acme', '--role', 'sandbox:invoke', '--scope', 'a:b:*', '--scope', 'c:d:e', '--expires', '90d')
    assert.deepEqual([made['roles'], made['scopes'], made['validator']], [['sandbox:invoke'], ['a:b:*', 'c:d:e'], 'partners'])
    assert.equal(Date.parse(made['expires_at']!) - Date.parse(made['created_at']!), 90 * 86_400_000)
    assert.equal((await make('--owner', 'a', '--expires', '2030-01-31T12:00:00Z'))['expires_at'], '2030-01-31T12:00:00.000Z')
  })

  it('says what was expected', async () => {
    const wrong: [number, RegExp, ...string[]][] = [
      [2, /required option '--owner <subject>'/, 'create'],
      [2, /expected a time span such as/, 'create', '--owner', 'a', '--expires', 'soon'],
      [
        1,
        /400 bad_body: roles: expected roles that may_assert of partners lets it give: sandbox:invoke/,
        'create',
        '--owner',
        'a',
        '--role',
        'admin',
      ],
      [1, /400 bad_body: roles: expected roles of the policy: /, 'create', '--owner', 'a', '--role', 'king'],
      [1, /400 bad_validator/, 'create', '--owner', 'a', '--validator', 'users'],
      [1, /404 unknown_key/, 'revoke', 'nobody'],
      [2, /missing required argument/, 'revoke'],
      [2, /its length or its checksum is not right/, 'revoke', 'postern_key_abc'],
      [1, /never made here, or ended more than 90 days ago/, 'revoke', makeApiKey()],
    ]
    for (const [code, sentence, ...argv] of wrong) {
      const ran = await run(...argv)
      assert.equal(ran.code, code, `${argv.join(' ')}: ${ran.err}`)
      assert.match(ran.err, sentence)
      assert.equal(ran.out, '')
    }
  })

  it('lists keys without the keys themselves, those in force alone unless told otherwise', async () => {
    const [kept, gone] = [await make('--owner', 'lists', '--name', 'kept'), await make('--owner', 'lists', '--name', 'gone')]
    assert.equal((await run('revoke', gone['id']!)).out, `revoked ${gone['id']}\n`)
    const { out } = await run('list', '--owner', 'lists')
    assert.match(out, /^ID +NAME +SUBJECT +ROLES +SCOPES +STATUS +CREATED +EXPIRES +LAST USED$/m)
    assert.match(out, new RegExp(`^${kept['id']} +kept +key:lists +sandbox:invoke +- +active +\\d{4}-\\S+Z +- +-$`, 'm'))
    assert.ok(!out.includes('gone'))
    assert.match((await run('list', '--owner', 'lists', '--all')).out, /gone .* revoked /)
    const json = await run('list', '--owner', 'lists', '--all', '--json')
    const { api_keys: keys } = JSON.parse(json.out) as { api_keys: Record<string, string>[] }
    assert.deepEqual(
      keys.map(({ id, status }) => [id, status]),
      [
        [kept['id'], 'active'],
        [gone['id'], 'revoked'],
      ],
    )
    for (const { key } of [kept, gone]) assert.ok(!json.out.includes(key!))
    assert.equal((await run('list', '--validator', 'nobody', '--json')).out, '{\n  "api_keys": []\n}\n')
  })

  it('revokes by the key itself, or from standard input, and by postern revoke key', async () => {
    const status = async (id: string) => {
      const { api_keys: keys } = JSON.parse((await run('list', '--all', '--json')).out) as { api_keys: Record<string, string>[] }
      return keys.find((key) => key['id'] === id)?.['status']
    }
    const made = [await make('--owner', 'a'), await make('--owner', 'a'), await make('--owner', 'a')]
    assert.deepEqual(JSON.parse((await run('revoke', made[0]!['key']!, '--json')).out), { revoked: true, id: made[0]!['id'] })
    assert.equal((await cli(['api-key', 'revoke', '-', ...at], {}, `${made[1]!['key']}\n`)).code, 0)
    assert.equal((await cli(['revoke', 'key', made[2]!['id']!, ...at])).out, `revoked key ${made[2]!['id']}\n`)
    for (const { id } of made) assert.equal(await status(id!), 'revoked')
  })

  it('is counted in status and metrics', async () => {
    const { out } = await cli(['status', ...at])
    assert.match(out, /^api keys +\d+ known$/m)
    const address = /admin: \{ address: "?([^" }]+)/.exec(readFileSync(service.config, 'utf8'))?.[1]
    assert.match(await (await fetch(`http://${address}/metrics`)).text(), /^postern_api_keys [1-9]\d*$/m)
  })
})
