import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { brokerClient, brokerPolicy } from '../support/broker.ts'
import { freePorts } from '../support/free-port.ts'
import { startPostern } from '../support/postern.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { schemathesis } from './schemathesis.ts'

/** A Python that has Schemathesis; see deploy/local/schemathesis.mjs. */
const python = process.env['POSTERN_TEST_SCHEMATHESIS']

/** Examples of each call in each way to make them; what they are is decided by the seed alone. */
const examples = '12'
const seed = '20270215'

/**
 * A revision that is made up is never the one that there is, and a list of them that is written oddly holds none (412). What an
 * import does with invalid lines is told by its parameters.
 */
const settings = (token: string): string => `
[auth.openapi.admin]
bearer = "${token}"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "412", "5xx"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "5xx"]

[[operations]]
include-operation-id = "importLabels"
checks.negative_data_rejection.expected-statuses = ["2xx", "4xx", "5xx"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "4xx", "5xx"]
`

describe('the OpenAPI document of the owner API', function () {
  this.timeout(240_000)

  it('is what the service does, for everything that it allows and forbids', async function () {
    if (python === undefined) return this.skip()
    const folder = temporaryFolder()
    const { started, stop } = createStops(folder.remove)
    try {
      const [admin = 0, issuer = 0] = await freePorts(2)
      started(await startPostern(brokerPolicy({ admin, issuer, folder: folder.path })))
      const client = brokerClient(`http://127.0.0.1:${admin}`)
      const token = await client.login()
      const document = await client.ask('GET', '/v1/openapi.json', undefined, token)
      assert.equal(document.status, 200, document.text)
      writeFileSync(folder.file('openapi.json'), document.text)
      writeFileSync(folder.file('schemathesis.toml'), settings(token))
      const { code, output } = await schemathesis(python!, folder.path, [
        '--config-file',
        folder.file('schemathesis.toml'),
        'run',
        folder.file('openapi.json'),
        ...['--url', `http://127.0.0.1:${admin}`],
        ...['--checks', 'all', '--max-examples', examples, '--seed', seed, '--continue-on-failure', '--no-color'],
      ])
      assert.equal(code, 0, output)
      assert.match(output, /Tested: 8\b/, output)
    } finally {
      await stop()
    }
  })
})
