import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { adminClient } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { policyFile } from './pair.ts'
import { earlier, now, type Replica, startReplica, type Version } from './replica.ts'

const versionOf = (path: string): number => {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    return Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
  } finally {
    database.close()
  }
}

describe('a state file of an earlier version', function () {
  this.timeout(60_000)
  let previous: Version
  let folder: TemporaryFolder
  let policy: string
  let admin: string
  let replica: Replica | undefined

  const start = async (version: Version): Promise<void> => {
    replica = await startReplica(version, policy, admin)
  }
  const end = async (): Promise<void> => {
    await replica?.stop()
    replica = undefined
  }
  /** Owners and API keys that there are, through the version that runs. */
  const found = async (id: string) => {
    const client = await adminClient(admin)
    const { labels } = (await (await client.call('GET', `/v1/resources/sandbox/${id}/labels`)).json()) as {
      labels?: Record<string, string>
    }
    const { api_keys } = (await (await client.call('GET', '/v1/api-keys')).json()) as { api_keys: { id: string }[] }
    return { owner: labels?.['agentcube.io/owner'], keys: api_keys.map((key) => key.id) }
  }

  before(async function () {
    this.timeout(300_000)
    const version = await earlier()
    if ('reason' in version) {
      process.stdout.write(`      ${version.reason}\n`)
      return void this.skip()
    }
    previous = version
    folder = temporaryFolder('database')
    const [adminPort = 0, issuerPort = 0] = await freePorts(2)
    admin = `127.0.0.1:${adminPort}`
    const values: Record<string, string> = {
      check: '',
      admin,
      issuer: `127.0.0.1:${issuerPort}`,
      state: `file:${folder.file('postern.db')}`,
      folder: '',
    }
    policy = policyFile
      .replace(/ {2}check:\n( {4}.*\n)+/, `  check: { address: "unix:${folder.file('check.sock')}" }\n`)
      .replace(/@([a-z]+)@/g, (_, name: string) => values[name] ?? '')
  })
  afterEach(end)
  after(() => folder?.remove())

  it('is taken over with all that is in it, and may be taken back where its schema stayed', async () => {
    await start(previous)
    const client = await adminClient(admin)
    await client.setOwner('sandbox', 's1', 'agent:alice')
    const made = (await (await client.call('POST', '/v1/api-keys', { owner: 'acme' })).json()) as { id: string }
    const written = await found('s1')
    assert.deepEqual([written.owner?.startsWith('sha256-'), written.keys], [true, [made.id]])
    await end()
    const file = folder.file('postern.db')
    const schema = versionOf(file)

    await start(now)
    assert.deepEqual(await found('s1'), written)
    await (await adminClient(admin)).setOwner('sandbox', 's2', 'agent:bob')
    const second = await found('s2')
    await end()

    if (versionOf(file) === schema) {
      await start(previous)
      assert.deepEqual(await found('s1'), written)
      assert.deepEqual(await found('s2'), second)
    } else await assert.rejects(start(previous), /schema version/)
  })

  it('of a newer schema is refused, by each version, with a message that says so', async () => {
    const file = folder.file('postern.db')
    const database = new DatabaseSync(file)
    database.exec(`PRAGMA user_version = ${versionOf(file) + 100}`)
    database.close()
    for (const version of [previous, now]) await assert.rejects(start(version), /schema version \d+, and this program knows \d+/)
  })
})
