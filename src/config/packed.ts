import { deserialize, serialize } from 'node:v8'
import type { Turns } from './turns.ts'

/** Routes in one piece. */
const pieceRoutes = 250

/** Data of a policy file in pieces, each of which takes a moment to unpack: all but the routes, then these. */
export type Packed = readonly Uint8Array[]

export function pack(data: unknown): Packed {
  const routes: unknown = typeof data === 'object' && data !== null && 'routes' in data ? data.routes : undefined
  if (!Array.isArray(routes)) return [serialize(data)]
  const pieces = [serialize({ ...(data as object), routes: [] })]
  for (let i = 0; i < routes.length; i += pieceRoutes) pieces.push(serialize(routes.slice(i, i + pieceRoutes)))
  return pieces
}

/** @returns what was packed, made anew */
export async function unpack([rest, ...pieces]: Packed, turns: Turns): Promise<unknown> {
  const data: unknown = rest && deserialize(rest)
  for (const piece of pieces) {
    if (turns.due) await turns.next()
    const { routes } = data as { routes: unknown[] }
    for (const route of deserialize(piece) as unknown[]) routes.push(route)
  }
  return data
}
