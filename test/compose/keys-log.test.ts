import assert from 'node:assert/strict'
import type { JwksCondition } from '../../src/adapters/jwks.ts'
import { createKeysLog } from '../../src/compose/keys-log.ts'

const condition = (status: JwksCondition['status'], reason: JwksCondition['reason'], message: string): JwksCondition => ({
  ...{ type: 'JWKSReady', issuer: 'https://idp.example', lastTransitionTime: '', kids: [], ageSeconds: undefined },
  ...{ status, reason, message },
})

describe('log of issuer keys', () => {
  it('tells each change once, by how bad it is', () => {
    const lines: string[] = []
    const at = (level: string) => (_: object, text: string) => void lines.push(`${level} ${text}`)
    const told = createKeysLog({ info: at('info'), warn: at('warn'), error: at('error') } as unknown as Parameters<typeof createKeysLog>[0])
    for (let i = 0; i < 3; i++) told(condition('False', 'DiscoveryFailed', 'no answer'))
    told(condition('True', 'Fetched', '2 keys'))
    told(condition('True', 'Fetched', '3 keys'))
    told(condition('True', 'UsingLastGood', 'no answer'))
    told(condition('True', 'Fetched', '3 keys'))
    assert.deepEqual(lines, [
      'error the keys of the issuer cannot be fetched',
      'info the keys of the issuer are at hand',
      'warn the keys of the issuer cannot be fetched',
      'info the keys of the issuer are at hand',
    ])
  })
})
