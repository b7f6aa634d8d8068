const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 0.001, ns: 0.000001 }

/** A duration in milliseconds: `1.5s` as protobuf writes it, or `1m30s`, `500ms` as Go does. Undefined where it is none. */
export function durationMs(text: string | undefined): number | undefined {
  if (text === undefined || !/^(?:\d+(?:\.\d+)?(?:ms|us|ns|h|m|s))+$/.test(text)) return undefined
  let sum = 0
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)/g)) sum += Number(count) * (units[unit ?? ''] ?? 0)
  return sum
}
