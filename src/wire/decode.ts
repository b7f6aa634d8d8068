import type { Request } from '../core/request.ts'
import { RequestReader } from './read-attributes.ts'
import { WireFault } from './read-wire.ts'

/** Why a message is no CheckRequest that can be judged. It holds no value of the message. */
export class DecodeFault {
  readonly detail: string
  constructor(detail: string) {
    this.detail = detail
  }
}

/**
 * Makes the decoder of CheckRequest messages (envoy.service.auth.v3). It never throws. A message without
 * attributes becomes a request with an empty path, which every check refuses. A request refers to the bytes of its
 * message, which must not change while anyone looks at it.
 */
export function createDecoder(): (message: Buffer) => Request | DecodeFault {
  const reader = new RequestReader()
  return (message) => {
    try {
      return reader.read(message)
    } catch (cause) {
      const detail = cause instanceof WireFault ? cause.detail : cause instanceof Error ? cause.name : 'unreadable'
      return new DecodeFault(`no CheckRequest: ${detail}`)
    }
  }
}
