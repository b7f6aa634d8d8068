import { type Labels, noLabels } from '../core/ownership.ts'

/** Field and value in turn, as RESP2 answers HGETALL, or the object that ioredis makes of it. */
export function toLabels(reply: unknown): Labels {
  if (Array.isArray(reply)) {
    const labels = new Map<string, string>()
    for (let i = 0; i + 1 < reply.length; i += 2) labels.set(String(reply[i]), String(reply[i + 1]))
    return labels
  }
  return typeof reply === 'object' && reply !== null ? new Map(Object.entries(reply as Record<string, string>)) : noLabels
}
