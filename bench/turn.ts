import { setTimeout as sleep } from 'node:timers/promises'
import { type CpuTimes, cpuBetween, cpuTimes, residentBytes } from './cpu.ts'
import type { Sample } from './results.ts'
import type { Started, Times } from './row.ts'

/** A turn whose answers were not those that the row is about: its numbers would mean nothing. */
export class WrongAnswers extends Error {
  override readonly name = 'WrongAnswers'
}

/** Beyond the time asked for, before a turn is given up, in seconds. */
const patience = 30

/** Wrong answers for one right one: on a busy machine a call now and then meets its deadline, and is refused as it should. */
const tolerated = 0.001

/**
 * One turn of one row: the load runs, and between the two instants that the generator tells, the CPU time of the row's
 * processes is taken.
 * @throws {WrongAnswers} where more than one request in a thousand failed or was answered otherwise than expected
 */
export async function takeTurn({ pids, authorizer, run, rest }: Started, times: Times): Promise<Sample> {
  const processes = pids()
  const asked = authorizer?.()
  let before: CpuTimes | undefined
  let after: CpuTimes | undefined
  const late = new AbortController()
  const limit = (times.warmup + times.seconds + patience) * 1000
  const load = await Promise.race([
    run(times, {
      onBegin: () => {
        before = cpuTimes(processes)
      },
      onEnd: () => {
        after = cpuTimes(processes)
      },
    }),
    sleep(limit, undefined, { signal: late.signal }).then(() => {
      throw new Error(`no end after ${limit / 1000} s`)
    }),
  ]).finally(() => late.abort())
  const busyMb = rounded(residentBytes(processes) / 1e6)
  if (rest !== undefined) await sleep(rest * 1000)
  if (load.failed + load.wrong > load.requests * tolerated || load.requests === 0)
    throw new WrongAnswers(`${load.requests} answers, ${load.failed} failed, ${load.wrong} wrong`)
  if (before === undefined || after === undefined) throw new Error('the load generator did not tell when it measured')
  const each = (nanoseconds: number) => rounded(nanoseconds / 1000 / load.requests)
  return {
    cpu_us: each(cpuBetween(before, after)),
    ...(asked === undefined ? {} : { authorizer_us: each(cpuBetween(before, after, asked)) }),
    rate: rounded(load.rate),
    requests: load.requests,
    p50_us: rounded(load.latency_us.p50),
    p90_us: rounded(load.latency_us.p90),
    p99_us: rounded(load.latency_us.p99),
    rss_mb: rounded(residentBytes(processes) / 1e6),
    rss_busy_mb: busyMb,
  }
}

/** As many digits as can mean anything. */
const rounded = (value: number): number => Number(value.toPrecision(5))
