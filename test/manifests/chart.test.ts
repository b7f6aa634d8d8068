import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { chartFolder, containers, helm, helmTemplate, manifests, missing, pods, valuesFiles } from './rendered.ts'

interface Refused {
  readonly name: string
  readonly values: object
  readonly says: string
}

const file = (path: string): string => readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8')
const yaml = <T>(path: string): T => parse(readFileSync(join(chartFolder, path), 'utf8')) as T

describe('the Helm chart', function () {
  this.timeout(30_000)
  let folder: TemporaryFolder
  before(function () {
    if (missing('POSTERN_TEST_HELM')) this.skip()
    folder = temporaryFolder('chart')
  })
  after(() => folder?.remove())

  const given = (values: object): string[] => {
    writeFileSync(folder.file('values.yaml'), stringify(values))
    return ['--values', folder.file('values.yaml')]
  }

  for (const values of [undefined, ...valuesFiles()])
    it(`passes helm lint --strict with ${values ?? 'its own values'}`, () => {
      const said = helm('lint', '--strict', chartFolder, ...(values ? ['--values', join(chartFolder, 'examples', values)] : []))
      assert.match(said, /0 chart\(s\) failed/)
    })

  for (const { name, values, says } of parse(file('./refused-values.yaml')) as Refused[])
    it(`refuses ${name}`, () => {
      let said = ''
      try {
        helmTemplate(...given(values))
      } catch (cause) {
        said = (cause as { stderr: string }).stderr
      }
      assert.ok(said.includes(says), said === '' ? 'it was taken' : said)
    })

  it('takes the image by the version of the chart, by a tag, or by a digest', () => {
    const { appVersion } = yaml<{ appVersion: string }>('Chart.yaml')
    const image = (values: object): string =>
      manifests(helmTemplate(...given(values)))
        .flatMap(pods)
        .flatMap(containers)
        .find(({ name }) => name === 'postern')?.['image']
    const digest = `sha256:${'ab'.repeat(32)}`
    assert.equal(image({}), `postern:${appVersion}`)
    assert.equal(image({ image: { repository: 'registry.example/postern', tag: '1.2.3' } }), 'registry.example/postern:1.2.3')
    assert.equal(image({ image: { tag: '1.2.3', digest } }), `postern@${digest}`)
    assert.equal(appVersion, (JSON.parse(file('../../package.json')) as { version: string }).version)
  })

  it('gives the router alone what it says in allow, by namespace, trust domain and account', () => {
    const values = { trustDomain: 'example.org', router: { serviceAccountName: 'edge' } }
    const policy = manifests(helmTemplate(...given(values), '--namespace', 'other')).find(({ data }) => data?.['postern.yaml'])
    const { listen } = parse(policy?.['data']['postern.yaml']) as { listen: { check: { tls: { allow: string[] } } } }
    assert.deepEqual(listen.check.tls.allow, ['spiffe://example.org/ns/other/sa/edge'])
  })

  it('says in its notes what it needs', () => {
    const notes = helm('install', 'postern', chartFolder, '--namespace', 'agentcube-system', '--dry-run=client')
    assert.match(notes, /Secret postern-tls: tls\.crt, tls\.key, ca\.crt, for postern-api\.agentcube-system\.svc/)
    assert.match(notes, /postern\.agentcube-system\.svc:9191/)
  })

  const registered = (account: string): string => `a registration for spiffe://cluster.local/ns/agentcube-system/sa/${account}\n`
  for (const { file: name, says, not } of [
    { file: 'values-minimal.yaml', says: ['layout sidecar'], not: ['postern-tls', 'SPIRE', 'jwks.json', 'helm test', ':9191'] },
    {
      file: 'values-sidecar.yaml',
      says: ['Secret postern-tls', 'Secret router-tls', 'deployment/postern-router'],
      not: ['SPIRE', ':9191'],
    },
    { file: 'values-spire.yaml', says: [registered('postern'), 'deployment/postern\n', ':9191'], not: ['postern-tls', 'router-tls'] },
    { file: 'values-sidecar-spire.yaml', says: [registered('router'), 'Secret router-tls'], not: ['postern-tls', ':9191'] },
    { file: 'values-tenants.yaml', says: ['https://postern-api.agentcube-system.svc:9193/realms/{realm}/jwks.json'], not: ['SPIRE'] },
    { file: 'values-redis-cluster.yaml', says: ['(registry.example/postern@sha256:'], not: ['SPIRE'] },
  ])
    it(`says in its notes what it needs with ${name}`, () => {
      const values = ['--values', join(chartFolder, 'examples', name)]
      const said = helm('install', 'postern', chartFolder, '--namespace', 'agentcube-system', '--dry-run=client', ...values)
      const notes = said.slice(said.indexOf('NOTES:'))
      for (const one of says) assert.ok(notes.includes(one), `${one} in ${notes}`)
      for (const one of not) assert.ok(!notes.includes(one), `no ${one} in ${notes}`)
    })

  it('has each value described in the guide, and the guide no other', () => {
    const guide = file('../../docs/guides/kubernetes.md')
    const reference = guide.slice(guide.indexOf('## Values of the chart'))
    const told = [...reference.matchAll(/^\| `([A-Za-z.]+)`/gm)].map(([, name]) => name ?? '')
    const schema = JSON.parse(readFileSync(join(chartFolder, 'values.schema.json'), 'utf8')) as Schema
    const known = (path: string): boolean =>
      path.split('.').reduce<Schema | undefined>((at, key) => at?.properties?.[key], schema) !== undefined
    assert.deepEqual(
      told.filter((path) => !known(path)),
      [],
    )
    const tops = Object.keys(schema.properties ?? {}).filter((name) => name !== 'global')
    assert.deepEqual(
      tops.filter((name) => !told.some((path) => path === name || path.startsWith(`${name}.`))),
      [],
    )
    assert.deepEqual(Object.keys(yaml<object>('values.yaml')).sort(), tops.sort())
  })

  it('gives Prometheus’ adapter a rule that Prometheus can evaluate, and the autoscaler its name', function () {
    const promtool = process.env['POSTERN_TEST_PROMTOOL']
    if (promtool === undefined) return this.skip()
    const { rules } = parse(file('../../deploy/kubernetes/overlays/components/prometheus/adapter-rule.yaml')) as {
      rules: { metricsQuery: string; name: { as: string }; seriesQuery: string }[]
    }
    const [rule] = rules
    assert.ok(rule)
    const query = rule.metricsQuery
      .replaceAll('<<.Series>>', 'postern_check_duration_seconds_bucket')
      .replaceAll('<<.LabelMatchers>>', 'namespace="agentcube-system",pod=~"postern-a|postern-b"')
      .replaceAll('<<.GroupBy>>', 'pod')
    writeFileSync(folder.file('rules.yaml'), stringify({ groups: [{ name: 'g', rules: [{ record: rule.name.as, expr: query }] }] }))
    const series = (pod: string, le: string, values: string) => ({
      series: `postern_check_duration_seconds_bucket{namespace="agentcube-system",pod="${pod}",le="${le}"}`,
      values,
    })
    const test = {
      rule_files: [folder.file('rules.yaml')],
      evaluation_interval: '15s',
      tests: [
        {
          interval: '15s',
          // Nine in ten within 10 ms, the others within 50 ms; and a Pod that nobody asks.
          input_series: [
            ...[series('postern-a', '0.01', '0+90x20'), series('postern-a', '0.05', '0+100x20'), series('postern-a', '+Inf', '0+100x20')],
            ...[series('postern-b', '0.01', '5+0x20'), series('postern-b', '0.05', '5+0x20'), series('postern-b', '+Inf', '5+0x20')],
          ],
          promql_expr_test: [
            {
              expr: `round(${rule.name.as}, 0.001)`,
              eval_time: '4m',
              exp_samples: [
                { labels: '{pod="postern-a"}', value: 0.03 },
                { labels: '{pod="postern-b"}', value: 0 },
              ],
            },
          ],
        },
      ],
    }
    writeFileSync(folder.file('test.yaml'), stringify(test))
    execFileSync(promtool, ['test', 'rules', folder.file('test.yaml')], { stdio: ['ignore', 'pipe', 'pipe'] })
    assert.equal(yaml<{ autoscaling: { latency: { metric: string } } }>('values.yaml').autoscaling.latency.metric, rule.name.as)
  })
})

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>
}
