import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { unchangingOf } from '../../src/compose/workers-count.ts'
import { readPolicy } from '../../src/config/read.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const main = (over = ''): string => `version: 1
realms: ["realm-*.yaml"]
listen: { check: { address: "unix:/run/postern/check.sock" }, issuer: { address: 127.0.0.1:9193, url: "http://127.0.0.1:9193/realms/{realm}" } }
state: "file:./postern.db"
workers: 2
admin: { secret: "\${env:SECRET}", audience: "admin-{realm}" }
issuer: { keys: { file: "keys-{realm}.json" } }
${over}`
const tenant = (realm: string): string => `version: 1\nrealm: ${realm}\nidentity: []\nroutes: []\n`
const secret = 'a-secret-of-tests-with-more-than-32-characters'

describe('workers that serve several realms', () => {
  const folder = temporaryFolder()
  after(() => folder.remove())

  const digest = async (realm: string, text = main()): Promise<string> => {
    for (const name of ['acme', 'globex', 'a']) writeFileSync(folder.file(`realm-${name}.yaml`), tenant(name))
    writeFileSync(folder.file('postern.yaml'), text)
    const read = await readPolicy({ file: folder.file('postern.yaml'), env: { SECRET: secret }, realm })
    assert.ok(read.ok, JSON.stringify(read))
    return unchangingOf(read.loaded.settings, true)
  }

  it('agree by whichever realm they have read first', async () => {
    const acme = await digest('acme')
    assert.equal(await digest('globex'), acme)
  })

  it('do not agree where the main file has changed', async () => {
    const before = await digest('acme')
    const changed = [
      main().replace('workers: 2', 'workers: 3'),
      main().replace('9193/realms', '9199/realms'),
      main().replace('keys-{realm}', '{realm}-keys'),
      main().replace('admin-{realm}', 'other-{realm}'),
      main().replace('postern.db', 'other.db'),
    ]
    for (const text of changed) assert.notEqual(await digest('globex', text), before, text)
  })
})
