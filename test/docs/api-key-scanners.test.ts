import assert from 'node:assert/strict'
import { parse } from 'yaml'
import { apiKeyPattern, makeApiKey } from '../../src/core/api-key.ts'
import { readPage } from './markdown.ts'

describe('what scanners are told of API keys', () => {
  const { blocks } = readPage('docs/guides/api-keys.md')
  const text = (info: string): string => blocks.find((block) => block.info === info)?.text ?? assert.fail(`no block ${info}`)
  const patterns = {
    GitHub: text('text').trim(),
    gitleaks: /^regex = '''(.*)'''$/m.exec(text('toml'))?.[1] ?? '',
    TruffleHog: (parse(text('yaml trufflehog.yaml')) as { detectors: { regex: { key: string } }[] }).detectors[0]?.regex.key ?? '',
  }

  for (const [scanner, pattern] of Object.entries(patterns)) {
    it(`finds each key, whole and alone: ${scanner}`, () => {
      assert.ok(pattern.includes(apiKeyPattern), pattern)
      for (let i = 0; i < 100; i++) {
        const key = makeApiKey()
        for (const around of [`KEY=${key}`, `"${key}",`, `x-api-key: ${key}\r\n`, `https://h/?access_token=${key}&x=1`, `(${key})`])
          assert.deepEqual(around.match(new RegExp(pattern, 'g')), [key], around)
        assert.equal(new RegExp(pattern).test(key.slice(0, -1)), false)
      }
    })
  }
})
