import assert from 'node:assert/strict'
import { percentEncode, refusal } from '../../src/wire/lean-status.ts'

describe('the status of a lean call', () => {
  it('is percent-encoded as gRPC demands, and reads back', () => {
    const texts: readonly (readonly [plain: string, encoded: string])[] = [
      ['Deadline exceeded', 'Deadline exceeded'],
      ['100%', '100%25'],
      ['a\r\nb\t\0', 'a%0D%0Ab%09%00'],
      ['für 漢字', 'f%C3%BCr %E6%BC%A2%E5%AD%97'],
      ['~!"#$&\u007f', '~!"#$&%7F'],
      ['', ''],
    ]
    for (const [plain, encoded] of texts) {
      assert.equal(percentEncode(plain), encoded)
      assert.equal(decodeURIComponent(encoded), plain)
    }
  })

  it('is one block of headers', () => {
    assert.deepEqual(refusal(12, 'ü').headers, {
      ':status': 200,
      'content-type': 'application/grpc',
      'grpc-status': '12',
      'grpc-message': '%C3%BC',
    })
  })
})
