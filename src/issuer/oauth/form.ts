import type { IncomingMessage } from 'node:http'

/** A form as it was sent: what has no value was not sent (RFC 6749, section 3.2). Pairs in their order. */
export type Form = readonly (readonly [name: string, value: string])[]

/** Why a body cannot be read. */
export interface FormFault {
  readonly status: 400 | 413 | 415
  readonly description: string
}

/** Room for a few tokens and a certificate chain. Bytes. */
export const maxFormBytes = 48 * 1024
const maxPairs = 100
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads the body of a request to an endpoint of OAuth 2.0: `application/x-www-form-urlencoded` in UTF-8 (RFC 6749, appendix B).
 * The stream is left undestroyed, so that the fault can still be answered.
 * @throws what the stream throws where the client goes away
 */
export async function readForm(incoming: IncomingMessage): Promise<Form | FormFault> {
  const [type = '', ...parameters] = (incoming.headers['content-type'] ?? '').toLowerCase().split(';')
  const charset = parameters.map((one) => one.trim()).find((one) => one.startsWith('charset='))
  if (type.trim() !== 'application/x-www-form-urlencoded' || (charset !== undefined && !/^charset="?utf-8"?$/.test(charset)))
    return { status: 400, description: 'expected content-type: application/x-www-form-urlencoded' }
  if ((incoming.headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity')
    return { status: 415, description: 'expected a body without content-encoding' }
  if (Number(incoming.headers['content-length'] ?? 0) > maxFormBytes) return tooLarge
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxFormBytes) return tooLarge
    chunks.push(chunk)
  }
  let text: string
  try {
    text = utf8.decode(Buffer.concat(chunks))
  } catch {
    return { status: 400, description: 'the body is not UTF-8' }
  }
  const pairs = [...new URLSearchParams(text)].filter(([, value]) => value !== '')
  return pairs.length > maxPairs ? { status: 400, description: `a request has at most ${maxPairs} parameters` } : pairs
}

const tooLarge: FormFault = { status: 413, description: `a body has at most ${maxFormBytes} bytes` }

/** The value of a parameter; undefined where it was not sent, or more than once. */
export function single(form: Form, name: string): string | undefined {
  const values = form.filter(([key]) => key === name)
  return values.length === 1 ? values[0]![1] : undefined
}
