import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { lintEnvoy } from '../../../src/config/envoy/lint.ts'
import { sourceOf } from '../../../src/config/envoy/node.ts'
import { readJson } from '../../../src/config/envoy/read-json.ts'
import { Setting } from '../../../src/config/envoy/setting.ts'
import { fixturePath, found, lintText } from './fixtures.ts'

interface Listener {
  readonly filter_chains: { readonly filters: { typed_config: Record<string, unknown> }[] }[]
}

const good = readFileSync(fixturePath('good/bootstrap.yaml'), 'utf8')

const bomb = `static_resources:\n${[...'abcdefghijkl'].map((name, i, all) => `  ${name}: &${name} [${`*${all[i - 1]},`.repeat(i === 0 ? 0 : 9)}x]`).join('\n')}\n`

describe('reading Envoy configurations', () => {
  describe('files that are none', () => {
    const cases: readonly [name: string, text: string, line: number, message: RegExp][] = [
      ['empty', '', 1, /no Envoy-side configuration/],
      ['a policy of Postern', 'version: 1\nlisten: {}\n', 1, /no Envoy-side configuration/],
      ['a list of texts', '- a\n- b\n', 1, /no Envoy-side configuration/],
      ['no YAML', 'static_resources:\n  listeners: [\n', 3, /^not YAML: /],
      ['no JSON', '{ "static_resources": {\n "listeners": [ } }', 2, /^not JSON: /],
      ['cut off JSON', '{ "configs": [', 1, /^not JSON: /],
      ['a key that occurs twice', 'static_resources: {}\nstatic_resources: {}\n', 2, /^not YAML: /],
      ['nested without end', '['.repeat(50_000), 1, /nested deeper than 200/],
      ['aliases that grow without bound', bomb, 8, /aliases that stand for more than 2000000 values/],
      ['YAML that is nested deeply', '- '.repeat(300), 1, /nested deeper than 200/],
      ['YAML that is nested without end', `a: ${'['.repeat(50_000)}`, 1, /^not YAML: /],
    ]
    for (const [name, text, line, message] of cases) {
      it(name, () => {
        const { faults, findings } = lintText(text)
        assert.deepEqual([findings, faults.length, faults[0]?.file, faults[0]?.line], [[], 1, 'envoy.yaml', line])
        assert.match(faults[0]!.message, message)
      })
    }

    it('tells of one file while it reads the others', () => {
      const { faults, findings } = lintEnvoy(
        [
          { file: 'broken.yaml', text: '{' },
          { file: 'open.yaml', text: good.replace('failure_mode_allow: false', 'failure_mode_allow: true') },
        ],
        undefined,
      )
      assert.deepEqual(
        [faults.map(({ file }) => file), findings.map(({ file, code }) => [file, code])],
        [['broken.yaml'], [['open.yaml', 'ext-authz-fail-open']]],
      )
    })
  })

  it('knows where each value of JSON stands', () => {
    const text = '{\n  "a": [1, true, null,\n    "x\\"\\u00e9{"],\n  "b": { "c": -1.5e3 }\n}'
    const root = Setting.root(readJson(text, sourceOf('a.json', text)))
    assert.deepEqual(
      [root.at('a', 0).number, root.at('a', 1).boolean, root.at('a', 2).present, root.at('a', 3).text, root.at('b', 'c').number],
      [1, true, false, 'x"é{', -1500],
    )
    assert.deepEqual(root.at('a', 3).place, { file: 'a.json', line: 3, column: 5 })
    assert.deepEqual(root.at('b', 'c').place, { file: 'a.json', line: 4, column: 10 })
    // Absent: the nearest thing around it.
    assert.deepEqual(root.at('b', 'd', 'e').place, { file: 'a.json', line: 4, column: 3 })
  })

  it('agrees with JSON.parse on what is JSON', () => {
    for (const text of ['01', '[1,]', '{"a":1,}', '{a:1}', "['a']", '"\n"', '[1 2]', '{} {}', 'tru', '+1', '"\\x"', '[NaN]']) {
      assert.throws(() => JSON.parse(text))
      assert.throws(() => readJson(text, sourceOf('a.json', text)), { name: 'NotReadable' }, text)
    }
    for (const text of ['{}', ' [ ] ', '[[],{}]', '"a"', '0', '-0.5', '{"a":{"b":[null]}}', '{"":1}'])
      readJson(text, sourceOf('a.json', text))
  })

  it('reads a dump of megabytes soon', () => {
    const dump = JSON.parse(readFileSync(fixturePath('good/config-dump.json'), 'utf8')) as { configs: Record<string, unknown>[] }
    const routes = dump.configs.find((config) => String(config['@type']).endsWith('.RoutesConfigDump')) as {
      dynamic_route_configs: { route_config: { virtual_hosts: object[] } }[]
    }
    const { virtual_hosts } = routes.dynamic_route_configs[0]!.route_config
    for (let i = 0; i < 10_000; i++)
      virtual_hosts.unshift({
        name: `h${i}`,
        domains: [`h${i}.example`],
        routes: [{ match: { prefix: '/' }, route: { cluster: 'sandbox' } }],
      })
    const text = JSON.stringify(dump)
    assert.ok(text.length > 1_000_000)
    const before = performance.now()
    assert.deepEqual(found(lintText(text)), [])
    assert.ok(performance.now() - before < 10_000)
  })

  it('takes lowerCamelCase, which is the other way to write protobuf as JSON', () => {
    const camel = good
      .replace('failure_mode_allow: false', 'failureModeAllow: true')
      .replace('normalize_path: true', 'normalizePath: true')
      .replace('http_filters:', 'httpFilters:')
    assert.deepEqual(
      lintText(camel).findings.map(({ code, path }) => [code, path.split('.').at(-1)]),
      [['ext-authz-fail-open', 'failureModeAllow']],
    )
  })

  it('follows anchors, aliases and merge keys', () => {
    const text = good
      .replace('normalize_path: true', 'normalize_path: &yes true')
      .replace('failure_mode_allow: false', 'failure_mode_allow: *yes')
    assert.deepEqual(
      lintText(text).findings.map(({ code, line }) => [code, text.split('\n')[line - 1]?.trim()]),
      [['ext-authz-fail-open', 'failure_mode_allow: *yes']],
    )
  })

  it('takes several files for one configuration', () => {
    const at = good.indexOf('                route_config:')
    const end = good.indexOf('  clusters:\n')
    const routes = good.slice(at, end)
    const listener = `${good.slice(0, at)}                rds: { route_config_name: edge, config_source: { path_config_source: { path: rds.yaml } } }\n${good.slice(end)}`
    const rds = `resources:\n  - "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\n${routes
      .split('\n')
      .slice(1)
      .map((line) => line.slice(14))
      .join('\n')
      .replace(
        'route: { cluster: workloadmanager }',
        'route: { cluster: workloadmanager }\n            typed_per_filter_config: { envoy.filters.http.ext_authz: { "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true } }',
      )}`
    const files = [
      { file: 'envoy.yaml', text: listener },
      { file: 'rds.yaml', text: rds },
    ]
    const { findings, faults } = lintEnvoy(files, undefined)
    assert.deepEqual(faults, [])
    assert.deepEqual(
      findings.map(({ file, code, virtual_host, route }) => [file, code, virtual_host, route]),
      [['rds.yaml', 'ext-authz-route-disabled', 'console', 'prefix /']],
    )
    const alone = lintEnvoy(files.slice(0, 1), undefined)
    assert.deepEqual(alone.findings, [])
    assert.ok(alone.notCompared.some((sentence) => sentence.includes('the routes "edge" come by RDS')))
  })

  it('reads a bootstrap in a ConfigMap, and says where in that file', () => {
    const text = `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: envoy }\ndata:\n  envoy.yaml: |\n${good
      .replace('failure_mode_allow: false', 'failure_mode_allow: true')
      .split('\n')
      .map((line) => (line === '' ? '' : `    ${line}`))
      .join('\n')}`
    const [finding, ...others] = lintText(text).findings
    assert.deepEqual([finding?.code, others], ['ext-authz-fail-open', []])
    const line = text.split('\n')[finding!.line - 1]!
    assert.equal(line.slice(finding!.column - 1), 'failure_mode_allow: true')
  })

  it('reads lists of resources without their types, as tools print them', () => {
    const { static_resources } = parse(good) as { static_resources: { listeners: Listener[]; clusters: object[] } }
    const [listener] = static_resources.listeners
    const { filter_chains, ...rest } = listener!
    const manager = filter_chains[0]!.filters[0]!.typed_config
    const { route_config, ...settings } = manager
    settings['rds'] = { route_config_name: 'edge', config_source: { ads: {} } }
    filter_chains[0]!.filters[0]!.typed_config = { ...settings, normalize_path: false }
    const files = [
      { file: 'listeners.json', text: JSON.stringify([{ ...rest, default_filter_chain: filter_chains[0] }]) },
      { file: 'routes.json', text: JSON.stringify([route_config]) },
      { file: 'clusters.json', text: JSON.stringify(static_resources.clusters) },
    ]
    const linted = lintEnvoy(files, undefined)
    assert.deepEqual(linted.faults, [])
    assert.deepEqual(
      linted.findings.map(({ code, path }) => [code, path]),
      [['normalize-path', '[0].default_filter_chain.filters[0].typed_config.normalize_path']],
    )
    assert.equal(linted.notCompared.length, 1)
  })

  describe('says what it could not check', () => {
    const authz = good.slice(
      good.indexOf('                  - name: envoy.filters.http.ext_authz'),
      good.indexOf('                  - name: envoy.filters.http.router'),
    )
    const byEcds = `                  - name: envoy.filters.http.ext_authz
                    config_discovery: { config_source: { ads: {} }, type_urls: [type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz] }
`
    const istio = readFileSync(fixturePath('good/istio.yaml'), 'utf8')
    const cases: readonly [name: string, text: string, sentence: RegExp][] = [
      ['a filter by ECDS', good.replace(authz, byEcds), /"envoy\.filters\.http\.ext_authz" comes by ECDS/],
      ['a cluster by CDS', good.replace('    - name: postern\n', '    - name: another\n'), /the cluster "postern" .* is in no file/],
      [
        'endpoints by EDS',
        good.replace('    - name: postern\n', '    - name: postern\n      type: EDS\n'),
        /the endpoints of "postern" come by EDS/,
      ],
      ['how Istio reaches it', istio, /how Istio reaches the provider "postern"/],
      ['Istio without a policy', istio.slice(0, istio.indexOf('---\n')), /no AuthorizationPolicy with action CUSTOM/],
      [
        'patches of Envoy Gateway',
        'apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyPatchPolicy\nmetadata: { name: more }\nspec: {}\n',
        /the EnvoyPatchPolicy "more"/,
      ],
    ]
    for (const [name, text, sentence] of cases) {
      it(name, () => {
        const { findings, notCompared } = lintText(text)
        assert.deepEqual(findings, [])
        assert.ok(notCompared.some((told) => sentence.test(told)))
      })
    }
  })
})
