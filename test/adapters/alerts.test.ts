import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseDocument } from 'yaml'
import { createMetrics } from '../../src/adapters/metrics.ts'
import { revocationLevels } from '../../src/core/ports.ts'
import { denyReasons } from '../../src/core/reasons.ts'

const checkout = fileURLToPath(new URL('../../', import.meta.url))
const folder = `${checkout}deploy/prometheus/`

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly description: string }
}
const read = (name: string): { readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[] } => {
  const document = parseDocument(readFileSync(folder + name, 'utf8'), { strict: true })
  assert.deepEqual(document.errors, [])
  return document.toJS()
}

describe('alert rules', () => {
  const { groups } = read('alerts.yaml')
  const rules = groups.flatMap((group) => group.rules)

  it('are named once, and say what they are about', () => {
    assert.equal(new Set(groups.map(({ name }) => name)).size, groups.length)
    assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length)
    for (const { alert, expr, for: lasting, labels, annotations, ...more } of rules) {
      assert.match(alert, /^Postern[A-Z][A-Za-z]+$/)
      assert.ok(expr.length > 10, alert)
      assert.match(lasting ?? '1m', /^\d+[sm]$/)
      assert.ok(['warning', 'critical'].includes(labels.severity), alert)
      assert.deepEqual(Object.keys(annotations).sort(), ['description', 'summary'])
      assert.deepEqual(more, {})
    }
  })

  it('ask for metrics that there are', () => {
    const files = readdirSync(`${checkout}src/adapters`).filter((name) => name.startsWith('metrics'))
    const known = new Set(
      files.flatMap((name) =>
        [...readFileSync(`${checkout}src/adapters/${name}`, 'utf8').matchAll(/'(postern_[a-z_]+)'/g)].map(([, metric]) => metric!),
      ),
    )
    const asked = rules.flatMap(({ alert, expr }) => [...expr.matchAll(/postern_[a-z_]+/g)].map(([name]) => [alert, name] as const))
    assert.ok(asked.length >= rules.length)
    for (const [alert, name] of asked) assert.ok(known.has(name.replace(/_(?:bucket|count|sum)$/, '')), `${alert}: ${name}`)
  })

  it('ask for labels and values that there are, from the start', async () => {
    const metrics = createMetrics({ version: 'test', processMetrics: false })
    const page = await metrics.expose()
    metrics.close()
    const series = (name: string, label: string, value: string) => page.includes(`${name}{${label}="${value}"}`)
    // A counter that begins with its first increase would have had none.
    for (const status of ['denied', 'limited']) assert.ok(series('postern_admin_auth_total', 'status', status))
    for (const level of [...revocationLevels, 'key']) assert.ok(series('postern_tokens_revoked_total', 'level', level))
    assert.ok(series('postern_policy_reloads_total', 'outcome', 'refused'))
    for (const { expr } of rules)
      for (const [, reasons = ''] of expr.matchAll(/reason=~"([^"]+)"/g))
        for (const reason of reasons.split('|')) assert.ok((denyReasons as readonly string[]).includes(reason), reason)
  })

  it('watch failed admin logins and a spike of revocations', () => {
    const about = (metric: string) => rules.some(({ expr }) => expr.includes(metric))
    assert.ok(about('postern_admin_auth_total{status=~"denied|limited"}'))
    assert.ok(about('postern_tokens_revoked_total'))
  })

  it('hold before promtool, and fire when they should', function () {
    const promtool = process.env['POSTERN_TEST_PROMTOOL']
    if (promtool === undefined) return this.skip()
    const run = (...args: string[]) => spawnSync(promtool, args, { encoding: 'utf8' })
    const checked = run('check', 'rules', `${folder}alerts.yaml`)
    assert.equal(checked.status, 0, checked.stdout + checked.stderr)
    const tested = run('test', 'rules', `${folder}alerts.test.yaml`)
    assert.equal(tested.status, 0, tested.stdout + tested.stderr)
  })
})
