import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { faultText } from '../../src/config/faults.ts'
import { type Loaded, readPolicy, restartNeeded } from '../../src/config/read.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

describe('certificate files in a policy', () => {
  let folder: TemporaryFolder
  beforeEach(() => {
    folder = temporaryFolder()
    for (const name of ['c.pem', 'k.pem', 'ca.pem']) writeFileSync(folder.file(name), name, { mode: 0o600 })
  })
  afterEach(() => folder.remove())

  const read = (more: string, tls = 'mode: none', address = 'unix:/run/check.sock') => {
    writeFileSync(
      folder.file('postern.yaml'),
      `version: 1
listen: { check: { address: "${address}", tls: { ${tls} } } }
identity: [{ name: users, type: oidc, issuer: https://idp.example, audience: [edge] }]
routes: []
${more}
`,
    )
    return readPolicy({ file: folder.file('postern.yaml'), env: {} })
  }
  const loaded = async (...asked: Parameters<typeof read>): Promise<Loaded> => {
    const result = await read(...asked)
    assert.ok(result.ok, JSON.stringify(result))
    return result.loaded
  }
  const faults = async (more: string): Promise<string[]> => {
    const result = await read(more)
    return result.ok ? [] : result.faults.map((fault) => faultText(fault).replace(/^.*?: /, ''))
  }
  const sts = (more: string) =>
    `sts: { kc: { token_endpoint: https://idp.example/token, client_id: edge, auth: { mtls: { cert: c.pem, key: k.pem } }, subjects_of: users, ${more} } }`
  const source = (url: string, tls: string) =>
    `sources: { platform: { type: json, redis: "${url}", tls: { ${tls} }, key: "s:{id}", owner: /o, subjects_of: users } }`

  it('are found from the folder of the policy file', async () => {
    const { settings } = await loaded(`${sts('ca: ca.pem')}\n${source('rediss://h:1/0', 'ca: ca.pem, cert: c.pem, key: k.pem')}`)
    const { kc } = settings.sts
    assert.deepEqual([kc?.ca, kc?.auth.mtls?.cert], [folder.file('ca.pem'), folder.file('c.pem')])
    const { tls } = settings.sources['platform']!
    assert.deepEqual([tls?.ca, tls?.cert, tls?.key], ['ca.pem', 'c.pem', 'k.pem'].map(folder.file))
  })
  it('have to be there, and be used', async () => {
    assert.match((await faults(sts('ca: none.pem'))).join(), /sts\.kc\.ca: ".*none\.pem" cannot be read/)
    assert.match(
      (await faults(source('rediss://h:1/0', 'ca: none.pem'))).join(),
      /sources\.platform\.tls\.ca: ".*none\.pem" cannot be read/,
    )
    assert.match((await faults(source('redis://h:1/0', 'ca: ca.pem'))).join(), /"tls" does nothing with redis:\/\//)
    assert.match((await faults(source('rediss://h:1/0', 'cert: c.pem'))).join(), /"key" is missing: expected a PEM file, as cert is given/)
  })
  it('of a listener need a restart to be others; its allow list does not', async () => {
    const mtls = (ca: string, ...allow: string[]) =>
      `mode: mtls, cert: c.pem, key: k.pem, ca: ${ca}, allow: [${allow.map((one) => `"spiffe://td/${one}"`)}]`
    const first = await loaded('', mtls('ca.pem', 'a'))
    assert.deepEqual(restartNeeded(first, await loaded('', mtls('ca.pem', 'b', 'a'))), [])
    assert.match(
      restartNeeded(first, await loaded('', mtls('c.pem', 'a')))
        .map(faultText)
        .join(),
      /"listen\.check" cannot change while the service runs/,
    )
    assert.equal(restartNeeded(first, await loaded('', mtls('ca.pem', 'a'), 'unix:/run/other.sock')).length, 1)
  })
})
