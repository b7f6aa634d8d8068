import type { z } from 'zod'
import { type BodySchema, readJsonBody } from '../core/http-body.ts'
import { type AdminContext, problem } from './answers.ts'

/**
 * Reads a JSON body by its schema.
 * @param empty what no body at all stands for; without it, a body is required
 * @returns what the schema makes of it, or the answer that says what was expected; it never repeats what was sent
 */
export function readBody<S extends z.ZodType>(c: AdminContext, schema: S, empty?: z.input<S>): Promise<z.output<S> | Response>
export function readBody<T>(c: AdminContext, schema: BodySchema<T>): Promise<T | Response>
export async function readBody<T>(c: AdminContext, schema: BodySchema<T>, empty?: unknown): Promise<T | Response> {
  const read = await readJsonBody(c.req.raw, schema, empty)
  if (read.ok) return read.data
  const { status, reason, detail } = read.fault
  return problem(c, status, reason, detail, status === 413 ? { connection: 'close' } : {})
}
