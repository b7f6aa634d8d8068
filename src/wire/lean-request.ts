import type { IncomingHttpHeaders } from 'node:http2'
import { code, httpRefusal, type Refusal, refusal } from './lean-status.ts'

// Compression is not spoken here: what may be sent is said with each refusal of it.
const identityOnly = { 'grpc-accept-encoding': 'identity' }

const noPost = httpRefusal(405, { allow: 'POST' })
const noGrpc = httpRefusal(415)
const badTimeout = refusal(code.internal, 'grpc-timeout must be at most 8 digits and one of H M S m u n')
const badEncoding = refusal(code.unimplemented, 'messages may not be compressed: only grpc-encoding identity is accepted', identityOnly)

/** A message whose compressed flag is set, though its call names no encoding but identity (gRPC's compression.md). */
export const compressed = refusal(code.internal, 'the compressed flag is set on a message without an encoding', identityOnly)

/** application/grpc, or with a message format (`+proto`) and parameters; grpc-web is another protocol. */
const grpcContentType = /^application\/grpc(?:\+[^;\s]*)?[ \t]*(?:;|$)/i

/**
 * Reads the request headers of PROTOCOL-HTTP2. `te` is not demanded: no server does.
 * @returns the refusal of a request that is no gRPC, or none that can be answered
 */
export function judgeHeaders(headers: IncomingHttpHeaders): Refusal | undefined {
  if (headers[':method'] !== 'POST') return noPost
  const contentType = headers['content-type']
  if (contentType !== 'application/grpc' && (contentType === undefined || !grpcContentType.test(contentType))) return noGrpc
  return undefined
}

/** The refusal of a call whose messages may be compressed. */
export function judgeEncoding(headers: IncomingHttpHeaders): Refusal | undefined {
  const encoding = headers['grpc-encoding']
  return encoding === undefined || encoding === 'identity' ? undefined : badEncoding
}

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 }
const timeoutForm = /^[0-9]{1,8}[HMSmun]$/

/**
 * Reads `grpc-timeout`: milliseconds, undefined where there is none, a refusal where it cannot be read. One caller
 * sends the same one with each call, so the last one is kept.
 */
export function createTimeoutReader(): (headers: IncomingHttpHeaders) => number | undefined | Refusal {
  let lastText = '1S'
  let lastMs = 1000
  return (headers) => {
    const text = headers['grpc-timeout']
    if (text === undefined) return undefined
    if (text === lastText) return lastMs
    if (typeof text !== 'string' || !timeoutForm.test(text)) return badTimeout
    lastText = text
    lastMs = Number(text.slice(0, -1)) * (unitMs[text.at(-1) ?? ''] ?? 0)
    return lastMs
  }
}
