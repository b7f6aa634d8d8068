import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { PolicyFacts } from '../../../src/config/envoy/policy-facts.ts'
import { factsOf, fixturePath, lintText } from './fixtures.ts'

const good = readFileSync(fixturePath('good/capture-and-direct.yaml'), 'utf8')

/** Changes one place; it must be there. */
function changed(text: string, from: string, to: string): string {
  assert.equal(text.split(from).length, 2, `${JSON.stringify(from)} was expected once`)
  return text.replace(from, to)
}

const processor = '                  - name: envoy.filters.http.ext_proc\n'
const off = `${processor}                    disabled: true\n`
const manage = '                          route: { cluster: workloadmanager }\n                        - name: sandboxes\n'
const config = (lines: string): string => `                          typed_per_filter_config:
                            envoy.filters.http.ext_proc:
${lines.replace(/^/gm, '                              ')}
`
const onRoute = (lines: string): string =>
  manage.replace('                        - name: sandboxes\n', `${config(lines)}                        - name: sandboxes\n`)
const perRoute = '"@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute'
const router = '                  - name: envoy.filters.http.router\n'
const original = '      type: ORIGINAL_DST\n'

const cases: readonly [name: string, text: string, found: readonly string[]][] = [
  ['off, and on for the route', changed(changed(good, processor, off), manage, onRoute(`${perRoute}\noverrides: {}`)), []],
  [
    'off, and on by a FilterConfig',
    changed(
      changed(good, processor, off),
      manage,
      onRoute(`"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig\nconfig: { ${perRoute}, overrides: {} }`),
    ),
    [],
  ],
  [
    'off by a FilterConfig',
    changed(good, manage, onRoute('"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig\ndisabled: true')),
    ['ext-proc-route-unasked'],
  ],
  [
    'on for the route, and asking somebody else there',
    changed(good, manage, onRoute(`${perRoute}\noverrides: { grpc_service: { envoy_grpc: { cluster_name: postern } } }`)),
    ['ext-proc-route-unasked'],
  ],
  [
    'off on a route that serves none of those that need it',
    changed(
      good,
      '                      domains: [console.example]\n',
      `                      domains: [console.example]\n                      typed_per_filter_config: { envoy.filters.http.ext_proc: { ${perRoute}, disabled: true } }\n`,
    ),
    [],
  ],
  [
    'rules that let Postern change what it has to',
    changed(
      good,
      '                      allow_mode_override: true\n',
      '                      allow_mode_override: true\n                      mutation_rules: { disallow_all: { value: true }, allow_expression: { regex: "accept-encoding|content-(length|type)" } }\n',
    ),
    [],
  ],
  [
    'one header that it has to change, named',
    changed(
      good,
      '                      allow_mode_override: true\n',
      '                      allow_mode_override: true\n                      mutation_rules: { disallow_expression: { regex: "accept-.*" } }\n',
    ),
    ['ext-proc-mutation-rules'],
  ],
  [
    'another processor, which sees requests after the decision',
    changed(
      good,
      router,
      `                  - name: other
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
                      grpc_service: { envoy_grpc: { cluster_name: workloadmanager } }
${router}`,
    ),
    ['filter-after-ext-authz'],
  ],
  ['the cluster by its other name', changed(good, original, '      cluster_type: { name: envoy.cluster.original_dst }\n'), []],
  [
    'a share of the requests for one that is not direct',
    changed(
      good,
      manage,
      manage.replace(
        '{ cluster: workloadmanager }',
        '{ weighted_clusters: { clusters: [{ name: workloadmanager, weight: 9 }, { name: sandboxes, weight: 1 }] } }',
      ),
    ),
    ['original-dst-not-direct'],
  ],
]

describe('lint of ext_proc and of addresses in headers, beside a policy', () => {
  let policy: PolicyFacts
  before(async () => {
    policy = await factsOf('policies/capture-and-direct.yaml')
  })

  for (const [name, text, found] of cases)
    it(name, () => {
      const linted = lintText(text, policy)
      assert.deepEqual(linted.faults, [])
      assert.deepEqual(
        linted.findings.map(({ code }) => code),
        found,
      )
    })

  it('names the routes of both sides', () => {
    const [found] = lintText(changed(good, manage, onRoute(`${perRoute}\ndisabled: true`)), policy).findings
    assert.equal(found?.code, 'ext-proc-route-unasked')
    assert.match(found.problem, /"manage" of the virtual host "all".*the route "create-sandbox" of the policy captures/)
    assert.deepEqual([found.virtual_host, found.route], ['all', 'manage'])
  })

  it('says without a policy what was not compared', () => {
    assert.match(lintText(good).notCompared.join('\n'), /it was not checked that routes to "sandboxes" are direct: true/)
  })
})
