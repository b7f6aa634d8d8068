import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { findings } from '../../../src/config/envoy/codes.ts'

const guide = readFileSync(new URL('../../../docs/guides/envoy-lint.md', import.meta.url), 'utf8')

describe('the guide to lint --envoy', () => {
  it('has every code with its severity, in the order of the code', () => {
    const rows = [...guide.matchAll(/^\| `([a-z0-9-]+)` \| (error|warning|note) \|/gm)].map(([, code, severity]) => `${code} ${severity}`)
    assert.deepEqual(
      rows,
      Object.entries(findings).map(([code, { severity }]) => `${code} ${severity}`),
    )
  })
})
