import { setPriority } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { longProperties } from './long-properties.ts'
import { type Outcome, type Property, told } from './property.ts'
import type { Report, Task } from './run-worker.ts'

const usage = `Tries what must hold of every input on many random ones.

  npm run fuzz
  npm run fuzz -- --inputs N      inputs in all; 1,000,000 unless given
  npm run fuzz -- --seed S        the inputs of an earlier run; a new seed unless given
  npm run fuzz -- --only TEXT     only properties whose name holds this
  npm run fuzz -- --limit S       seconds after which no further input is tried; 1800 unless given
  npm run fuzz -- --jobs N        properties at a time; 1 unless given
  npm run fuzz -- --list          tells the properties

Exit code 0 when all hold, 1 when one does not, 2 for wrong arguments.
`

/** An input that takes longer than this hangs: nothing here has to wait for anybody. */
const hangMs = 60_000

interface Row {
  readonly property: Property
  readonly planned: number
  readonly outcome: Outcome
}

const options = readArguments()
const chosen = longProperties.filter(({ name }) => name.includes(options.only))
if (chosen.length === 0) leave(2, `no property is named ${JSON.stringify(options.only)}; --list tells their names\n`)
if (options.list) leave(0, `${chosen.map(({ name }) => name).join('\n')}\n`)
// Whatever else runs on this machine goes first.
setPriority(10)
process.stdout.write(`seed ${options.seed}, ${options.inputs.toLocaleString('en')} inputs, ${chosen.length} properties\n`)

const begun = performance.now()
const weights = chosen.reduce((sum, { weight }) => sum + weight, 0)
const waiting = chosen.map((property) => ({ property, planned: Math.max(1, Math.ceil((options.inputs * property.weight) / weights)) }))
const rows: Row[] = []
let done = 0
await Promise.all(Array.from({ length: options.jobs }, work))
finish()

async function work(): Promise<void> {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const row = { ...next, outcome: await inWorker(next.property, next.planned) }
    rows.push(row)
    done += row.outcome.inputs
    clearProgress()
    if (row.outcome.failure)
      process.stdout.write(`✗ ${row.property.name}\n${told(row.outcome.failure, options.seed).replace(/^/gm, '  ')}\n`)
  }
}

/** Tries one property in a thread, and ends the thread where it hangs. */
function inWorker({ name }: Property, inputs: number): Promise<Outcome> {
  const counter = new SharedArrayBuffer(4)
  const count = new Uint32Array(counter)
  const limitMs = Math.max(1, options.limitMs - (performance.now() - begun))
  const task: Task = { name, counter, seed: options.seed, inputs, limitMs }
  const started = performance.now()
  const worker = new Worker(new URL('run-worker.ts', import.meta.url), { workerData: task })
  return new Promise((resolve) => {
    let seen = 0
    let seenAt = performance.now()
    const end = (outcome: Outcome) => {
      clearInterval(timer)
      resolve(outcome)
    }
    const failed = (counterexample: string, message: string) =>
      end({ inputs: count[0] ?? 0, ms: performance.now() - started, failure: { counterexample, path: '', message } })
    const timer = setInterval(() => {
      const now = Atomics.load(count, 0)
      if (now !== seen) seenAt = performance.now()
      seen = now
      showProgress(name, now, inputs)
      if (performance.now() - seenAt < hangMs) return
      void worker.terminate()
      failed(`input ${now} of this seed (--only, --seed and --inputs ${now} come back to it)`, `no answer within ${hangMs / 1000} s`)
    }, 500)
    worker.on('message', (report: Report) => end(report))
    worker.on('error', (cause) =>
      failed('none: the property could not be tried', cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)),
    )
  })
}

function showProgress(name: string, now: number, planned: number): void {
  if (!process.stdout.isTTY) return
  const all = `${(done + now).toLocaleString('en')} of ${options.inputs.toLocaleString('en')}`
  process.stdout.write(`\r\x1b[K${all}  ${name.slice(0, 60)}  ${Math.floor((100 * now) / planned)} %`)
}

function clearProgress(): void {
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K')
}

function finish(): void {
  const lines = rows.map(({ property, planned, outcome }) => {
    const result = outcome.failure ? 'FAILED' : outcome.inputs < planned ? 'cut short' : 'held'
    return [
      outcome.inputs.toLocaleString('en').padStart(10),
      (outcome.ms / 1000).toFixed(1).padStart(8),
      result.padEnd(9),
      property.name,
    ].join('  ')
  })
  const failures = rows.filter(({ outcome }) => outcome.failure).length
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  process.stdout.write(`\n${['    inputs', ' seconds', 'result   ', 'property'].join('  ')}\n${lines.join('\n')}\n\n`)
  process.stdout.write(`${done.toLocaleString('en')} inputs in ${seconds} s, ${failures} failures, seed ${options.seed}\n`)
  process.exitCode = failures === 0 ? 0 : 1
}

function readArguments() {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  try {
    const { values } = parseArgs({ options: { inputs: text, seed: text, only: text, limit: text, jobs: text, list: flag, help: flag } })
    if (values.help) leave(0, usage)
    return {
      inputs: whole('inputs', values.inputs, 1_000_000),
      seed: whole('seed', values.seed, Date.now() % 1_000_000_007),
      limitMs: whole('limit', values.limit, 1800) * 1000,
      jobs: whole('jobs', values.jobs, 1),
      only: values.only ?? '',
      list: values.list,
    }
  } catch (cause) {
    return leave(2, `${cause instanceof Error ? cause.message : cause}\n\n${usage}`)
  }
}

function whole(name: string, value: string | undefined, otherwise: number): number {
  if (value === undefined) return otherwise
  if (!/^[1-9]\d{0,9}$/.test(value)) throw new TypeError(`--${name} ${value}: expected a whole number above 0`)
  return Number(value)
}

function leave(code: number, message: string): never {
  ;(code === 0 ? process.stdout : process.stderr).write(message)
  process.exit(code)
}
