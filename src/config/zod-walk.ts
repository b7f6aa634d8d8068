import type { z } from 'zod'

/** What the walk over schemas needs to know of zod's definitions. */
interface Definition {
  readonly type: string
  readonly innerType?: z.ZodType
  readonly in?: z.ZodType
  readonly shape?: Readonly<Record<string, z.ZodType>>
  readonly element?: z.ZodType
  readonly valueType?: z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly values?: readonly unknown[]
}

const definition = (schema: z.ZodType): Definition => schema.def as unknown as Definition

/** The schemas that a value may have at this place, with defaults, transforms and unions taken apart. */
export function alternatives(schema: z.ZodType): Definition[] {
  const def = definition(schema)
  if (def.options) return def.options.flatMap(alternatives)
  const inner = def.innerType ?? def.in
  return inner ? alternatives(inner) : [def]
}

/** The schemas of what stands under a key or index. */
export function under(schema: z.ZodType, step: string | number): z.ZodType[] {
  return alternatives(schema).flatMap((def) => {
    if (typeof step === 'number') return def.element ? [def.element] : []
    if (def.shape) return Object.hasOwn(def.shape, step) ? [def.shape[step]!] : []
    return def.valueType ? [def.valueType] : []
  })
}

/** Keys of the mapping that the schema describes at a path. */
export function keysAt(schema: z.ZodType, path: readonly (string | number)[]): string[] {
  let schemas = [schema]
  for (const step of path) schemas = schemas.flatMap((at) => under(at, step))
  return [...new Set(schemas.flatMap(alternatives).flatMap((def) => Object.keys(def.shape ?? {})))]
}
