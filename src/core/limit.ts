/** A token bucket for each address. */
export interface Limit {
  /** @returns 0 where it may go on, else the seconds after which to try again */
  readonly take: (address: string) => number
  /** As `take`, and takes nothing: for what is counted only once it has failed. */
  readonly wait: (address: string) => number
  /** Takes a token even where none is left, so that those who fail many times at once wait for all of them; a minute at most. */
  readonly spend: (address: string) => void
}

/** An IPv6 host has a /64 of addresses to itself: it counts as one. */
export function limitKey(address: string): string {
  if (address === '') return 'local'
  const v4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (v4) return v4[1]!
  if (!address.includes(':')) return address
  const [head = '', tail] = address.toLowerCase().split('::')
  const parts = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const rest = tail === '' ? [] : tail.split(':')
    while (parts.length + rest.length < 8) parts.push('0')
    parts.push(...rest)
  }
  return parts.slice(0, 4).join(':')
}

/** Seconds that a bucket can be in debt. */
const mostDebt = 60

/**
 * @param perSecond tokens that come back in a second
 * @param burst tokens of a full bucket
 * @param clock monotonic milliseconds
 * @param most addresses remembered; when there are more, full buckets are forgotten, then the oldest
 */
export function createLimit(perSecond: number, burst: number, clock: () => number = () => performance.now(), most = 10_000): Limit {
  const buckets = new Map<string, { left: number; at: number }>()
  const refill = (bucket: { left: number; at: number }, now: number): number =>
    Math.min(burst, bucket.left + ((now - bucket.at) / 1000) * perSecond)
  const seconds = (left: number): number => (left < 1 ? Math.max(1, Math.ceil((1 - left) / perSecond)) : 0)

  const forget = (now: number): void => {
    for (const [key, bucket] of buckets) if (refill(bucket, now) >= burst) buckets.delete(key)
    while (buckets.size >= most) buckets.delete(buckets.keys().next().value!)
  }
  const bucketOf = (address: string) => {
    const now = clock()
    const known = buckets.get(address)
    if (known === undefined && buckets.size >= most) forget(now)
    const bucket = known ?? { left: burst, at: now }
    bucket.left = refill(bucket, now)
    bucket.at = now
    buckets.set(address, bucket)
    return bucket
  }
  return {
    take(address) {
      const bucket = bucketOf(address)
      const wait = seconds(bucket.left)
      if (wait === 0) bucket.left -= 1
      return wait
    },
    wait(address) {
      const known = buckets.get(address)
      return known ? seconds(refill(known, clock())) : 0
    },
    spend(address) {
      const bucket = bucketOf(address)
      bucket.left = Math.max(bucket.left - 1, -mostDebt * perSecond)
    },
  }
}
