import type { z } from 'zod'
import { type AdminContext, problem } from './answers.ts'

/** Bodies stop here, in bytes. */
const maxBodyBytes = 1024 * 1024

const tooLarge = (c: AdminContext): Response =>
  problem(c, 413, 'body_too_large', `a body has at most ${maxBodyBytes} bytes`, { connection: 'close' })

/** The body as text; undefined where it is larger than {@link maxBodyBytes}, whatever its length was said to be. */
async function readText(c: AdminContext): Promise<string | undefined> {
  if (Number(c.req.header('content-length') ?? 0) > maxBodyBytes) return undefined
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of c.req.raw.body ?? []) {
    size += part.byteLength
    if (size > maxBodyBytes) return undefined
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

/**
 * Reads a JSON body by its schema.
 * @param empty what no body at all stands for; without it, a body is required
 * @returns what the schema makes of it, or the answer that says what was expected; it never repeats what was sent
 */
export async function readBody<S extends z.ZodType>(c: AdminContext, schema: S, empty?: z.input<S>): Promise<z.output<S> | Response> {
  const text = await readText(c)
  if (text === undefined) return tooLarge(c)
  const type = c.req.header('content-type')
  // A form of another site can send text/plain without asking first; JSON it cannot.
  if (text !== '' && type !== undefined && !/^application\/(?:[a-z0-9.+-]+\+)?json\s*(?:;|$)/i.test(type)) {
    return problem(c, 415, 'not_json', 'expected content-type: application/json')
  }
  let data: unknown = empty
  if (text !== '' || empty === undefined) {
    try {
      data = JSON.parse(text)
    } catch {
      return problem(c, 400, 'not_json', 'the body is no JSON')
    }
  }
  const read = schema.safeParse(data)
  if (read.success) return read.data
  const told = read.error.issues.slice(0, 5).map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message))
  return problem(c, 400, 'bad_body', told.join('; '))
}
