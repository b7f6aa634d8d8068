import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { checkout } from '../docs/markdown.ts'
import { encode, openAsker, tenant } from '../realms/rig.ts'
import { testCertificates } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { startPostern } from '../support/postern.ts'
import { startProgram } from '../support/program.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly datasource?: { readonly uid: string }
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
}

const read = (name: string): string => readFileSync(join(checkout, name), 'utf8')
const board = JSON.parse(read('deploy/grafana/postern.json')) as { uid: string; panels: Panel[]; templating: { list: { name: string }[] } }
const queries = board.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr, legendFormat }) => ({ title, expr, legend: legendFormat })),
)
const { POSTERN_TEST_PROMETHEUS: prometheus, POSTERN_TEST_PROMTOOL: promtool } = process.env
/** As Grafana fills in its variables. */
const filled = (expr: string): string => expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', '.*')

/** Metrics of operations.md that no panel shows, with the reason. */
const notShown: Readonly<Record<string, string>> = {
  postern_audit_events_loaded: 'told once, at the start',
  postern_audit_head_info: 'an anchor to be kept elsewhere: its value is always 1',
}

describe('the file of the Grafana board', () => {
  it('has queries in every panel, an id for each, and one data source', () => {
    const shown = board.panels.filter(({ type }) => type !== 'row')
    assert.ok(shown.length > 20)
    for (const { title, targets = [], datasource } of shown) assert.ok(targets.length > 0 && datasource?.uid === `\${datasource}`, title)
    assert.equal(new Set(board.panels.map(({ id }) => id)).size, board.panels.length)
    assert.deepEqual(
      board.templating.list.map(({ name }) => name),
      ['datasource', 'job'],
    )
  })

  it('shows what the query gives by every label of its legend', () => {
    for (const { title, expr, legend } of queries)
      for (const [, label] of legend.matchAll(/\{\{(\w+)\}\}/g)) assert.match(expr, new RegExp(`by \\([^)]*\\b${label}\\b`), title)
  })

  it('shows each metric of Postern, but those that say nothing on a board', () => {
    const asked = new Set(queries.flatMap(({ expr }) => metricsIn(expr)).map(baseOf))
    assert.deepEqual(
      namesOfPage().filter((name) => !asked.has(name)),
      Object.keys(notShown),
    )
  })

  it('lays its panels side by side, none over another', () => {
    const taken = new Set<string>()
    for (const { title, gridPos } of board.panels) {
      assert.ok(gridPos.x + gridPos.w <= 24, title)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(!taken.has(`${x} ${y}`), title)
          taken.add(`${x} ${y}`)
        }
    }
  })

  it('is what the provisioning files name', () => {
    const { providers } = parse(read('deploy/grafana/provisioning/dashboards/postern.yaml')) as {
      providers: { options: { path: string } }[]
    }
    const overlay = parse(read('deploy/compose/observability.yaml')) as { services: { grafana: { volumes: string[] } } }
    assert.ok(overlay.services.grafana.volumes.includes(`./deploy/grafana/postern.json:${providers[0]!.options.path}/postern.json:ro`))
    const { datasources } = parse(read('deploy/grafana/provisioning/datasources/prometheus.yaml')) as {
      datasources: { type: string; uid: string }[]
    }
    assert.deepEqual(
      datasources.map(({ type, uid }) => [type, uid]),
      [['prometheus', 'prometheus']],
    )
  })
})

describe('the Grafana board before a real Prometheus', function () {
  this.timeout(60_000)
  const { started, stop } = createStops(() => {})
  let url: string
  let page: string
  let askRealms: () => Promise<void>
  before(async function () {
    if (prometheus === undefined || promtool === undefined) return this.skip()
    const folder = temporaryFolder('board')
    started({ stop: async () => folder.remove() })
    const admin = `127.0.0.1:${await freePort()}`
    const secret = 'b1946ac92492d2347c6235b4d2611184a9f4c1f0d3e5b7a8'
    started(
      await startPostern(`version: 1
listen:
  check: { address: "unix:${folder.file('check.sock')}" }
  ext_proc: { address: "unix:${folder.file('ext-proc.sock')}" }
  admin: { address: "${admin}" }
  issuer: { address: "127.0.0.1:${await freePort()}" }
state: "memory:"
admin: { secret: ${secret} }
identity: [{ name: local, type: postern, audience: postern, may_assert: [member] }]
roles: { member: {} }
routes: [{ id: health, path: /healthz, public: true }]
`),
    )
    await fetch(`http://${admin}/v1/admin/auth`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: 'wrong' }),
    })
    // A second one, with what the first has not: two realms, and certificates.
    const second = `127.0.0.1:${await freePort()}`
    const check = `127.0.0.1:${await freePort()}`
    const { cert, key } = testCertificates(folder.path).server('postern')
    for (const realm of ['acme', 'globex']) writeFileSync(folder.file(`realm-${realm}.yaml`), tenant(realm))
    started(
      await startPostern(
        `version: 1
realms: ["realm-*.yaml"]
listen:
  check: { address: "${check}" }
  admin: { address: "${second}" }
  issuer: { address: "127.0.0.1:${await freePort()}", tls: { mode: tls, cert: "${cert}", key: "${key}" } }
state: "memory:"
admin: { secret: ${secret}, audience: "postern-admin-{realm}" }
`,
        { folder },
      ),
    )
    const asker = openAsker(check)
    started({ stop: async () => asker.close() })
    askRealms = async () => {
      for (const realm of ['acme', 'globex'])
        for (const path of [`/v1/${realm}`, '/v1/any']) await asker.askBytes(encode({ extensions: { realm }, path }))
    }
    await askRealms()
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    // The file that the overlay mounts, with this Postern as its target.
    const config = parse(read('deploy/prometheus/prometheus.yaml')) as {
      global: object
      rule_files: string[]
      scrape_configs: { static_configs: { targets: string[] }[] }[]
    }
    assert.deepEqual(config.scrape_configs[0]!.static_configs[0]!.targets, ['127.0.0.1:9192'])
    config.scrape_configs[0]!.static_configs[0]!.targets = [admin, second]
    config.global = { scrape_interval: '1s', evaluation_interval: '1s' }
    writeFileSync(folder.file('prometheus.yaml'), JSON.stringify(config))
    writeFileSync(folder.file('alerts.yaml'), read('deploy/prometheus/alerts.yaml'))
    const args = [
      `--config.file=${folder.file('prometheus.yaml')}`,
      `--storage.tsdb.path=${folder.file('data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]
    started(startProgram(prometheus, args))
    await until(
      'Prometheus to have scraped Postern',
      async () => (await ask('up{job="postern"} == 1').catch(() => [])).length === 2,
      30_000,
    )
    page = await (await fetch(`http://${admin}/metrics`)).text()
  })
  after(stop)

  const ask = async (query: string): Promise<readonly { metric: Record<string, string>; value: [number, string] }[]> => {
    const response = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query })}`)
    const answer = (await response.json()) as { status: string; error?: string; data: { result: [] } }
    if (answer.status !== 'success') throw new Error(`${query}: ${answer.error}`)
    return answer.data.result
  }

  it('asks what Prometheus understands', async () => {
    for (const { expr } of queries) await ask(filled(expr))
    await assert.rejects(ask('sum by (x) (rate(postern_checks_total[1m])'), /parse error/)
  })

  it('asks for metrics that Postern has', () => {
    for (const { title, expr } of queries)
      for (const name of metricsIn(expr)) assert.match(page, new RegExp(`^# TYPE ${baseOf(name)} `, 'm'), `${title}: ${name}`)
  })

  it('asks for labels that these metrics have', async () => {
    const told = labelsOfPage()
    let live = 0
    for (const { title, expr, legend } of queries) {
      const used = [...labelsIn(expr), ...[...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!)]
      for (const name of metricsIn(expr)) {
        const series = await ask(`{__name__="${name}"}`)
        live += series.length > 0 ? 1 : 0
        const there = new Set([
          ...(series.length > 0 ? series.flatMap(({ metric }) => Object.keys(metric)) : (told.get(baseOf(name)) ?? [])),
          'job',
          'instance',
          'le',
        ])
        assert.deepEqual(
          used.filter((label) => !there.has(label)),
          [],
          `${title}: ${name} has ${[...there].join(', ')}`,
        )
      }
    }
    assert.ok(live > 15, `${live} metrics have samples`)
  })

  it('has something to show of realms and of certificates', async () => {
    const shown = async (title: string): Promise<readonly Record<string, string>[]> => {
      const query = queries.find((one) => one.title === title)
      assert.ok(query, title)
      return (await ask(filled(query.expr))).map(({ metric }) => metric)
    }
    const realmsOf = async (title: string) => (await shown(title)).flatMap(({ realm }) => realm ?? []).sort()
    await until(
      'rates, which take two scrapes',
      async () => {
        await askRealms()
        return (await realmsOf('Checks by realm')).length > 0
      },
      20_000,
    )
    assert.deepEqual(await realmsOf('Checks by realm'), ['acme', 'globex'])
    assert.deepEqual((await shown('Denials by realm')).map(({ realm, reason }) => `${realm} ${reason}`).sort(), [
      'acme no_credential',
      'globex no_credential',
    ])
    assert.deepEqual(await realmsOf('Check duration by realm'), ['acme', 'globex'])
    assert.deepEqual(await realmsOf('Policies in force'), ['acme', 'default', 'globex'])
    assert.deepEqual(
      (await shown('Time until they expire')).map(({ use, part }) => `${use} ${part}`),
      ['listen.issuer cert'],
    )
    assert.deepEqual((await shown('Renewals')).map(({ use, outcome }) => `${use} ${outcome}`).sort(), [
      'listen.issuer refused',
      'listen.issuer success',
    ])
    assert.deepEqual(
      (await shown('Files that cannot be used')).map(({ use }) => use),
      ['listen.issuer'],
    )
  })

  it('stands beside alert rules that Prometheus evaluates', async () => {
    await until('the rules to be evaluated', async () => {
      const { data } = (await (await fetch(`${url}/api/v1/rules`)).json()) as {
        data: { groups: { rules: { health: string; name: string }[] }[] }
      }
      const rules = data.groups.flatMap((group) => group.rules)
      assert.deepEqual(
        rules.filter(({ health }) => health === 'err'),
        [],
      )
      return rules.length > 5 && rules.every(({ health }) => health === 'ok')
    })
    assert.equal(spawnSync(promtool!, ['check', 'rules', join(checkout, 'deploy/prometheus/alerts.yaml')]).status, 0)
  })
})

const metricsIn = (expr: string): string[] => [...new Set(expr.match(/\b(postern|process|nodejs)_[a-z_]+\b/g))]
const baseOf = (name: string): string => name.replace(/_(bucket|sum|count)$/, '')
const labelsIn = (expr: string): string[] => [
  ...[...expr.matchAll(/([a-z_]+)=~?"/g)].map(([, label]) => label!),
  ...[...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(',').map((label) => label.trim())),
]

/** The metrics of operations.md. */
const namesOfPage = (): string[] =>
  [...read('docs/guides/operations.md').matchAll(/^\| `(postern_\w+)` \| (?:counter|gauge|histogram) \|/gm)].map(([, name]) => name!)

/** Labels of each metric as operations.md tells them, for those that have counted nothing yet. */
function labelsOfPage(): ReadonlyMap<string, readonly string[]> {
  const rows = [...read('docs/guides/operations.md').matchAll(/^\| `(postern_\w+)` \| \w+ \| ([^|]*) \|/gm)]
  return new Map(
    rows.map(([, name, labels]) => [name!, [...labels!.replace(/\([^)]*\)/g, '').matchAll(/`(\w+)`/g)].map(([, label]) => label!)]),
  )
}
