import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { type Service, serve } from '../../src/compose.ts'
import { freePorts } from '../support/free-port.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { encode, openAsker, tenant } from './rig.ts'

describe('one of several realms, served alone', () => {
  const folder = temporaryFolder()
  let service: Service
  let asker: ReturnType<typeof openAsker>
  let issuer = ''
  before(async () => {
    const [check, at] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`) as [string, string]
    issuer = at
    for (const realm of ['acme', 'globex']) writeFileSync(folder.file(`realm-${realm}.yaml`), tenant(realm))
    writeFileSync(
      folder.file('postern.yaml'),
      `version: 1
realms: ["realm-*.yaml"]
listen: { check: { address: "${check}" }, issuer: { address: "${issuer}" } }
state: "memory:"
log: { level: silent, decisions: none }
`,
    )
    service = await serve({ config: folder.file('postern.yaml'), env: {}, realm: 'acme' })
    asker = openAsker(check)
  })
  after(async () => {
    asker?.close()
    await service?.close()
    folder.remove()
  })

  const reason = async (extensions: Record<string, string>, path: string) => (await asker.askBytes(encode({ extensions, path }))).reason

  it('is found where it would be beside the others, and nothing else is', async () => {
    assert.equal(await reason({ realm: 'acme' }, '/v1/acme'), 'ok')
    assert.equal(await reason({ realm: 'globex' }, '/v1/globex'), 'no_route')
    assert.equal(await reason({}, '/v1/acme'), 'no_route')
    const status = async (realm: string) => (await fetch(`http://${issuer}/realms/${realm}/jwks.json`)).status
    assert.deepEqual([await status('acme'), await status('globex')], [200, 404])
  })
})
