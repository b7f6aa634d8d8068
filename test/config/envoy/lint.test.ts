import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { findings } from '../../../src/config/envoy/codes.ts'
import { type EnvoyFileName, envoyText } from '../../support/envoy-document.ts'
import { expected, factsOf, fixturesIn, found, lintText } from './fixtures.ts'

describe('lint of Envoy configurations', () => {
  for (const folder of ['bootstrap', 'istio', 'gateway', 'refused'] as const) {
    describe(`${folder}: one fault each`, () => {
      for (const { name, text } of fixturesIn(folder)) {
        it(name, () => {
          const want = expected(text)
          assert.equal(want.length, 1, 'a fixture marks its one fault')
          const linted = lintText(text)
          assert.deepEqual(linted.faults, [])
          assert.deepEqual(found(linted), want)
          for (const { problem, why, instead, path } of linted.findings) {
            assert.ok(problem && why && instead && path)
            assert.doesNotMatch(problem + instead, /undefined|\[object/)
          }
        })
      }
    })
  }

  describe('policy: one disagreement each', () => {
    for (const { name, text } of fixturesIn('policy')) {
      it(name, async () => {
        const want = expected(text)
        assert.equal(want.length, 1, 'a fixture marks its one fault')
        const policy = /beside (policies\/[a-z-]+\.yaml)/.exec(text)?.[1] ?? assert.fail('it names its policy')
        assert.deepEqual(found(lintText(text, await factsOf(policy))), want)
      })
    }

    for (const [file, policy] of [
      ['bootstrap.yaml', 'users.yaml'],
      ['capture-and-direct.yaml', 'capture-and-direct.yaml'],
    ] as const)
      it(`finds nothing where ${file} and ${policy} agree`, async () => {
        const good = fixturesIn('good').find((one) => one.file === file)!
        const linted = lintText(good.text, await factsOf(`policies/${policy}`))
        assert.deepEqual([linted.findings, linted.notCompared], [[], []])
      })

    for (const file of ['capture.yaml', 'direct.yaml'] as const)
      it(`finds nothing in envoy/${file} beside a policy for it`, async () => {
        const linted = lintText(readFileSync(new URL(`../../../envoy/${file}`, import.meta.url), 'utf8'), await factsOf(`policies/${file}`))
        assert.deepEqual([linted.findings, linted.notCompared], [[], []])
      })
  })

  describe('config-dump: one fault each', () => {
    // JSON has no comments: the line is the one that holds this text, or the nth of those.
    const cases: readonly [file: string, severity: string, code: string, text: string][] = [
      ['discovered-filter-fails-open.json', 'error', 'ext-authz-fail-open', '"failure_mode_allow": true'],
      ['discovered-route-unasked.json', 'error', 'ext-authz-route-disabled', '"disabled": true'],
      // Absent: where its connection manager begins.
      ['discovered-listener-does-not-normalize.json', 'error', 'normalize-path', '"typed_config": {'],
      ['discovered-cluster-over-plaintext.json', 'error', 'check-plaintext', '"address": "10.0.0.7"'],
    ]
    it('has a case for each file', () => {
      assert.deepEqual(
        cases.map(([file]) => file).sort(),
        fixturesIn('config-dump')
          .map(({ file }) => file)
          .sort(),
      )
    })
    for (const [file, severity, code, text] of cases) {
      it(file, () => {
        const fixture = fixturesIn('config-dump').find((one) => one.file === file)!
        const linted = lintText(fixture.text)
        assert.equal(linted.findings.length, 1)
        const line = linted.findings[0]!.line
        assert.deepEqual(found(linted), [`${line}: ${severity} ${code}`])
        assert.ok(fixture.text.split('\n')[line - 1]!.includes(text))
      })
    }
  })

  describe('nothing to find', () => {
    for (const { file, text } of fixturesIn('good')) {
      it(file, () => {
        const linted = lintText(text)
        assert.deepEqual([linted.faults, linted.findings], [[], []])
      })
    }
    for (const file of [
      'envoy.yaml',
      'tcp-mtls.yaml',
      'spire.yaml',
      'behind-load-balancer.yaml',
      'egress.yaml',
      'direct.yaml',
      'upstreams.yaml',
    ] satisfies EnvoyFileName[]) {
      it(`envoy/${file}`, () => {
        assert.deepEqual(lintText(envoyText(file)).findings, [])
      })
    }
  })

  it('has a fixture for every code', () => {
    const marked = new Set(
      (['bootstrap', 'istio', 'gateway', 'refused', 'policy'] as const).flatMap((folder) =>
        fixturesIn(folder).flatMap(({ text }) => expected(text).map((mark) => mark.split(' ').at(-1))),
      ),
    )
    assert.deepEqual(
      Object.keys(findings).filter((code) => !marked.has(code)),
      [],
    )
  })
})
