import { constants, type OutgoingHttpHeaders } from 'node:http2'

/** The gRPC status codes that this transport says (grpc/doc/statuscodes.md). */
export const code = {
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
} as const

/** How a call ends that gets no message. */
export interface Refusal {
  /** The whole answer: one HEADERS frame that ends the stream ("Trailers-Only" in gRPC's words). */
  readonly headers: OutgoingHttpHeaders
}

const contentType = 'application/grpc'

/**
 * What comes before a message, as names and values: node:http2 takes such a list as it is, where it copies and checks
 * an object for each answer. One for all calls: it has a status, and no date is wanted, so node:http2 adds nothing to it.
 */
export const answerHeaders: string[] = [':status', '200', 'content-type', contentType]

/** What comes after the last message of a call that went well. */
export const okTrailers: OutgoingHttpHeaders = { 'grpc-status': '0' }

/**
 * A call that ends with a status.
 * @param message for the operator of the client; percent-encoded here
 */
export function refusal(status: number, message: string, more: OutgoingHttpHeaders = {}): Refusal {
  return {
    headers: {
      ':status': 200,
      'content-type': contentType,
      'grpc-status': String(status),
      'grpc-message': percentEncode(message),
      ...more,
    },
  }
}

/** A request that is no gRPC at all, and is answered in the words of HTTP. */
export function httpRefusal(status: number, more: OutgoingHttpHeaders = {}): Refusal {
  return { headers: { [constants.HTTP2_HEADER_STATUS]: status, ...more } }
}

/** Percent-Encoded of gRPC's PROTOCOL-HTTP2: all bytes of the UTF-8 text but visible ASCII, the space, and the percent sign. */
export function percentEncode(text: string): string {
  return text.replaceAll(/[^\x20-\x24\x26-\x7e]+/g, (part) => {
    let encoded = ''
    for (const byte of Buffer.from(part)) encoded += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    return encoded
  })
}
