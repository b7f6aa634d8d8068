import assert from 'node:assert/strict'
import { createMetrics, scopeLabel } from '../../src/adapters/metrics.ts'
import { stageNames } from '../../src/core/facts.ts'
import { observation } from './log-observation.ts'

/** The samples of a page in the text format: name and labels → value. */
function samples(page: string): Map<string, number> {
  const out = new Map<string, number>()
  for (const line of page.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const match = /^([a-z_]+(?:\{.*\})?) (\S+)$/.exec(line)
    assert.ok(match, `no sample: ${line}`)
    assert.equal(out.has(match[1]!), false, `twice: ${line}`)
    out.set(match[1]!, Number(match[2]))
  }
  return out
}

const plain = { version: '1.2.3', processMetrics: false }

describe('metrics', () => {
  it('count decisions by route, reason and decision', async () => {
    const metrics = createMetrics(plain)
    metrics.observe(observation())
    metrics.observe(observation())
    metrics.observe(observation({ reason: 'not_owner' }))
    metrics.observe(observation({ reason: 'missing_role', unenforced: true }))
    metrics.observe(observation({ reason: 'no_route', withoutRoute: true }))
    const page = samples(await metrics.expose())
    assert.equal(page.get('postern_checks_total{route="invoke",reason="ok",decision="allow"}'), 2)
    assert.equal(page.get('postern_checks_total{route="invoke",reason="not_owner",decision="deny"}'), 1)
    assert.equal(page.get('postern_checks_total{route="invoke",reason="missing_role",decision="unenforced"}'), 1)
    assert.equal(page.get('postern_checks_total{route="",reason="no_route",decision="deny"}'), 1)
    assert.equal(page.get('postern_check_duration_seconds_count'), 5)
  })

  it('tell each stage as a histogram whose buckets add up', async () => {
    const metrics = createMetrics(plain)
    for (const stage of stageNames) metrics.clock.waited(stage, 0.003)
    metrics.clock.waited('own', 30)
    metrics.clock.waited('own', 60_000)
    const page = samples(await metrics.expose())
    for (const stage of stageNames) assert.equal(page.get(`postern_stage_duration_seconds_bucket{stage="${stage}",le="0.000005"}`), 1)
    assert.equal(page.get('postern_stage_duration_seconds_bucket{stage="own",le="0.025"}'), 1)
    assert.equal(page.get('postern_stage_duration_seconds_bucket{stage="own",le="0.05"}'), 2)
    assert.equal(page.get('postern_stage_duration_seconds_bucket{stage="own",le="+Inf"}'), 3)
    assert.equal(page.get('postern_stage_duration_seconds_count{stage="own"}'), 3)
    assert.ok(Math.abs(page.get('postern_stage_duration_seconds_sum{stage="own"}')! - 60.030003) < 1e-9)
  })

  it('drop the counters of routes that a reload removed', async () => {
    const metrics = createMetrics(plain)
    metrics.observe(observation({ route: 'old' }))
    metrics.observe(observation({ route: 'kept' }))
    metrics.policyInForce('default', 'abcabcabcabc', ['kept', 'new'])
    const page = await metrics.expose()
    assert.equal(page.includes('route="old"'), false)
    assert.ok(page.includes('route="kept"'))
    assert.ok(page.includes('postern_policy_info{realm="default",revision="abcabcabcabc"} 1'))
  })

  it('show what other parts tell when they are scraped', async () => {
    let open = false
    const metrics = createMetrics({
      ...plain,
      sources: {
        caches: () => ({ owner: { hits: 3, misses: 1, size: 7 }, token: { hits: 2, misses: 5 } }),
        breakers: () => ({ keycloak: open ? 'open' : 'closed' }),
        feedAgeMs: () => 250,
        stateUp: () => !open,
        inFlight: () => 4,
      },
    })
    const before = samples(await metrics.expose())
    assert.equal(before.get('postern_cache_lookups_total{cache="owner",result="hit"}'), 3)
    assert.equal(before.get('postern_cache_lookups_total{cache="token",result="miss"}'), 5)
    assert.equal(before.get('postern_cache_entries{cache="owner"}'), 7)
    assert.equal(before.get('postern_breaker_open{sts="keycloak"}'), 0)
    assert.equal(before.get('postern_feed_age_seconds'), 0.25)
    assert.equal(before.get('postern_state_up'), 1)
    assert.equal(before.get('postern_in_flight'), 4)
    open = true
    const after = samples(await metrics.expose())
    assert.equal(after.get('postern_breaker_open{sts="keycloak"}'), 1)
    assert.equal(after.get('postern_state_up'), 0)
  })

  it('bound the labels that callers bring', async () => {
    const metrics = createMetrics(plain)
    metrics.tokenIssued(['invoke:sandbox:s1', 'invoke:sandbox:s2', 'read:*'])
    for (let i = 0; i < 5000; i++) metrics.tokenIssued([`scope-${i}:x:y`])
    for (let i = 0; i < 5000; i++) metrics.request(`GET /${i}`, 0.002)
    const page = await metrics.expose()
    assert.ok(page.includes('postern_tokens_issued_total{scope="invoke:sandbox"} 1'))
    assert.ok(page.includes('scope="other"'))
    assert.ok(page.split('\n').length < 2000)
    assert.equal(scopeLabel('invoke:sandbox:secret-id'), 'invoke:sandbox')
  })

  it('include the process, and are labelled as Prometheus wants them', async () => {
    const metrics = createMetrics({ version: '1.2.3' })
    metrics.adminAuth('limited')
    metrics.tokenRevoked('subject')
    metrics.reloaded('refused')
    const page = samples((await metrics.expose()).replace(/^nodejs_.*$/gm, ''))
    assert.ok(page.get('process_resident_memory_bytes')! > 0)
    assert.equal(page.get('postern_admin_auth_total{status="limited"}'), 1)
    assert.equal(page.get('postern_tokens_revoked_total{level="subject"}'), 1)
    assert.equal(page.get('postern_policy_reloads_total{outcome="refused"}'), 1)
    assert.equal(page.get('postern_build_info{version="1.2.3"}'), 1)
    assert.match(metrics.contentType, /^text\/plain; version=0\.0\.4/)
  })

  it('times the stages of one check in sixteen, which stands for all of them', async () => {
    const metrics = createMetrics(plain)
    for (let i = 0; i < 160; i++) if (metrics.clock.due()) metrics.clock.ran('own', 0.02)
    metrics.clock.waited('own', 300)
    const page = samples(await metrics.expose())
    assert.equal(page.get('postern_stage_duration_seconds_bucket{stage="own",le="0.000025"}'), 160)
    assert.equal(page.get('postern_stage_duration_seconds_count{stage="own"}'), 161)
  })

  it('cost a check well under two microseconds', () => {
    const metrics = createMetrics(plain)
    const seen = observation()
    const once = (): void => {
      if (metrics.clock.due()) for (const stage of stageNames) metrics.clock.ran(stage, 0.002)
      metrics.observe(seen)
    }
    for (let i = 0; i < 50_000; i++) once()
    const begun = performance.now()
    for (let i = 0; i < 100_000; i++) once()
    const nanos = ((performance.now() - begun) * 1e6) / 100_000
    if (process.env['SHOW_COST']) console.log(`      ${nanos.toFixed(0)} ns a check: eight stages and the decision`)
    assert.ok(nanos < 2000, `${nanos.toFixed(0)} ns`)
  })
})
