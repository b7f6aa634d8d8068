import { captured, judge } from './decode-properties.ts'

describe('the decoder of CheckRequest, about every way to damage a captured message a little', function () {
  this.timeout(60_000)

  it('refuses every beginning but those that are messages themselves', () => {
    for (let end = 0; end < captured.length; end++) judge(Buffer.from(captured.subarray(0, end)))
  })

  it('sees every flipped bit as protobufjs does', () => {
    for (let at = 0; at < captured.length * 8; at += 7) {
      const bytes = Buffer.from(captured)
      bytes[at >> 3]! ^= 1 << (at & 7)
      judge(bytes)
    }
  })
})
