import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { agentOf, brokerClient, brokerPolicy } from '../support/broker.ts'
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

describe('the OpenAPI document of the broker', function () {
  this.timeout(240_000)

  it('is what the service does, for everything that it allows and forbids', async function () {
    if (python === undefined) return this.skip()
    const folder = temporaryFolder()
    const { started, stop } = createStops(folder.remove)
    try {
      const [admin = 0, issuer = 0] = await freePorts(2)
      started(await startPostern(brokerPolicy({ admin, issuer, folder: folder.path })))
      const broker = brokerClient(`http://127.0.0.1:${issuer}`)
      const adminToken = await broker.login()
      const agent = await agentOf(broker, adminToken, { scopes: ['read:data:*'] })
      const made = await broker.ask('POST', '/v1/admin/apps', { name: 'crawler', scopes: ['read:data:*', 'write:data:*'] }, adminToken)
      const { client_id, client_secret } = made.json
      const app = await broker.ask('POST', '/v1/app/auth', { client_id, client_secret })
      const tokens = { admin: adminToken, agent: agent.token, app: String(app.json['access_token']) }
      const settings = Object.entries(tokens).map(([scheme, token]) => `[auth.openapi.${scheme}]\nbearer = "${token}"\n`)
      writeFileSync(folder.file('schemathesis.toml'), settings.join('\n'))
      const { code, output } = await schemathesis(python!, folder.path, [
        '--config-file',
        folder.file('schemathesis.toml'),
        'run',
        `http://127.0.0.1:${issuer}/v1/openapi.json`,
        ...['--checks', 'all', '--max-examples', examples, '--seed', seed, '--continue-on-failure', '--no-color'],
        // Under the limit of an address: what is beyond it would be told 429, and nothing else.
        ...['--rate-limit', '18/s'],
      ])
      assert.equal(code, 0, output)
      // Calls that were only ever turned away would say nothing of their answers.
      assert.match(output, /Tested: 22\b/, output)
      assert.doesNotMatch(output, /POST \/v1\/admin\/apps$/m, output)
    } finally {
      await stop()
    }
  })
})
