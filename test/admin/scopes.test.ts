import assert from 'node:assert/strict'
import { adminScopes } from '../../src/core/issuer.ts'
import { type Fixture, openFixture } from './fixture.ts'

type Scope = (typeof adminScopes)[number]

/** What each call of the admin API demands of a token; `every`: all scopes that there are. */
const demands: readonly (readonly [method: string, path: string, needs: Scope | 'every'])[] = [
  ['POST', '/v1/admin/launch-tokens', 'admin:launch-tokens:*'],
  ['POST', '/v1/revoke', 'admin:revoke:*'],
  ['POST', '/v1/revoke/lift', 'admin:revoke:*'],
  ['GET', '/v1/audit/events', 'admin:audit:*'],
  ['GET', '/v1/audit/export', 'admin:audit:*'],
  ['GET', '/v1/audit/keys', 'admin:audit:*'],
  ['POST', '/v1/admin/apps', 'admin:apps:*'],
  ['GET', '/v1/admin/apps', 'admin:apps:*'],
  ['GET', '/v1/admin/apps/app-1', 'admin:apps:*'],
  ['PUT', '/v1/admin/apps/app-1', 'admin:apps:*'],
  ['DELETE', '/v1/admin/apps/app-1', 'admin:apps:*'],
  ['PUT', '/v1/resources/sandbox/s1/labels', 'admin:owners:*'],
  ['GET', '/v1/resources/sandbox/s1/labels', 'admin:owners:*'],
  ['DELETE', '/v1/resources/sandbox/s1/labels', 'admin:owners:*'],
  ['PATCH', '/v1/resources/sandbox/s1/labels', 'admin:owners:*'],
  ['POST', '/v1/resources/sandbox/s1/transfer', 'admin:owners:*'],
  ['GET', '/v1/resources', 'admin:owners:*'],
  ['GET', '/v1/resources/sandbox', 'admin:owners:*'],
  ['POST', '/v1/import/labels', 'admin:owners:*'],
  ['GET', '/v1/openapi.json', 'admin:owners:*'],
  ['GET', '/v1/api-keys', 'admin:api-keys:*'],
  ['POST', '/v1/api-keys', 'admin:api-keys:*'],
  ['GET', '/v1/admin/keys', 'every'],
  ['POST', '/v1/admin/keys/rotate', 'every'],
  ['DELETE', '/v1/admin/keys/k1', 'every'],
  ['POST', '/v1/admin/tokens', 'every'],
  ['POST', '/v1/page-tokens', 'every'],
]

describe('scopes of admin tokens', () => {
  let admin: Fixture
  // A token is a name here: what it may stands in its name.
  const scopesOf = (token: string): readonly string[] => {
    const [kind, index] = token.split('-')
    const named = adminScopes[Number(index)]
    return adminScopes.filter((scope) => (kind === 'only') === (scope === named))
  }
  before(async () => {
    admin = await openFixture((options) => ({
      issuer: options.issuer && { ...options.issuer, verifyAdmin: (token) => ({ subject: 'someone', scopes: scopesOf(token) }) },
    }))
  })
  after(() => admin.close())

  for (const [method, path, needs] of demands)
    it(`${method} ${path} needs ${needs}`, async () => {
      for (const [index, scope] of adminScopes.entries())
        for (const kind of ['only', 'without']) {
          const answer = await admin.ask(path, { method, token: `${kind}-${index}`, ...(method === 'GET' ? {} : { body: {} }) })
          const may = needs !== 'every' && (kind === 'only') === (scope === needs)
          assert.equal(answer.status === 403 && answer.json['reason'] === 'insufficient_scope', !may, `${kind} ${scope}: ${answer.status}`)
        }
    })
})
