import assert from 'node:assert/strict'
import type { PolicyRoute } from '../../../src/config/envoy/policy-routes.ts'
import { readDocuments } from '../../../src/config/envoy/read-documents.ts'
import { samplesOfEntry, samplesOfPolicy, takingOf } from '../../../src/config/envoy/route-samples.ts'
import { entriesOf } from '../../../src/config/envoy/routes.ts'
import type { Setting } from '../../../src/config/envoy/setting.ts'
import { parseTemplate } from '../../../src/core/path-template.ts'

function routeConfig(text: string): Setting {
  const read = readDocuments('routes.yaml', text)
  return 'roots' in read ? read.roots[0]! : assert.fail(JSON.stringify(read))
}

const config = routeConfig(`
virtual_hosts:
  - name: exact
    domains: [api.example, "api.example:8443"]
    routes: [{ name: exact, match: { prefix: / } }]
  - name: suffix
    domains: ["*.example"]
    routes: [{ name: suffix, match: { prefix: / } }]
  - name: prefix
    domains: ["old.*"]
    routes: [{ name: prefix, match: { prefix: / } }]
  - name: all
    domains: ["*"]
    routes:
      - { name: deletes, match: { safe_regex: { regex: "/v1/s/[^/]+" }, headers: [{ name: ":method", string_match: { exact: DELETE } }] } }
      - { name: no-gets, match: { prefix: /v1/w, headers: [{ name: ":method", exact_match: GET, invert_match: true }] } }
      - { name: canary, match: { prefix: /v1/s/, headers: [{ name: x-canary, present_match: true }] } }
      - { name: share, match: { prefix: /v1/s/, runtime_fraction: { default_value: { numerator: 5 } } } }
      - { name: folded, match: { path: /V1/Fold, case_sensitive: false } }
      - { name: separated, match: { path_separated_prefix: /v1/p } }
      - { name: odd, match: { safe_regex: { regex: "(?i)/odd" } } }
      - { name: rest, match: { prefix: / } }
`)
const taking = takingOf(config)
const taken = (method: string, host: string, path: string): string[] => taking.taken({ method, host, path }).map(({ name }) => name.route)

const policyRoute = (path: string, more: Partial<PolicyRoute> = {}): PolicyRoute => {
  const segments = parseTemplate(path)
  assert.ok(typeof segments !== 'string')
  return { id: 'r', host: undefined, methods: ['GET'], segments, processed: undefined, direct: false, ...more }
}

describe('the routes of Envoy that a request may take', () => {
  it('are of the virtual host that Envoy would choose', () => {
    const chosen = { 'api.example': 'exact', 'b.example': 'suffix', 'old.example': 'suffix', 'old.org': 'prefix', elsewhere: 'rest' }
    for (const [host, name] of Object.entries(chosen)) assert.equal(taken('GET', host, '/x').at(-1), name, host)
  })

  it('end with the first that surely matches', () => {
    assert.deepEqual(taken('DELETE', 'h', '/v1/s/x'), ['deletes'])
    assert.deepEqual(taken('GET', 'h', '/v1/s/x'), ['canary', 'share', 'odd', 'rest'])
    assert.deepEqual(taken('DELETE', 'h', '/v1/s/x/y'), ['canary', 'share', 'odd', 'rest'])
    assert.deepEqual(taken('POST', 'h', '/v1/w'), ['no-gets'])
    assert.deepEqual(taken('GET', 'h', '/v1/w'), ['odd', 'rest'])
    assert.deepEqual(taken('GET', 'h', '/v1/fold'), ['folded'])
    assert.deepEqual(
      [taken('GET', 'h', '/v1/p')[0], taken('GET', 'h', '/v1/p/x')[0], taken('GET', 'h', '/v1/px')[0]],
      ['separated', 'separated', 'odd'],
    )
  })

  it('are asked for with examples of a route of the policy', () => {
    const samples = samplesOfPolicy(policyRoute('/v1/{id}/*/**', { host: '*.agents.example', methods: ['GET', 'POST'] }), config)
    assert.deepEqual(samples.length, 6)
    assert.deepEqual(samples[0], { method: 'GET', host: 'x.agents.example', path: '/v1/x/x' })
    assert.deepEqual([...new Set(samples.map(({ path }) => path))], ['/v1/x/x', '/v1/x/x/x', '/v1/x/x/x/x'])
    const anywhere = samplesOfPolicy(policyRoute('/'), config).map(({ host, path }) => `${host}${path}`)
    assert.deepEqual(anywhere, ['any.invalid/', 'api.example/', 'x.example/', 'old.x/'])
  })

  it('have examples of their own, which they match', () => {
    const host = config.at('virtual_hosts').items.at(-1)!
    const entries = entriesOf(host)
    for (const entry of entries.slice(4, 6))
      for (const { host: name, path } of samplesOfEntry(entry, host)) assert.equal(taken('PATCH', name, path)[0], entry.at('name').text)
    assert.deepEqual(samplesOfEntry(entries[6]!, host), [])
  })
})
