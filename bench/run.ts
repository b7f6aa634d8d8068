/**
 * `npm run bench`: measures Postern beside its peers, on the same request and through the same Envoy. Started by
 * deploy/local/bench.mjs, which sees to Node, packages and the build.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { step as say } from '../deploy/local/cache.mjs'
import { SetupError } from '../deploy/local/command.mjs'
import { ensureEnvoy } from '../deploy/local/envoy.mjs'
import { ensureRedis } from '../deploy/local/redis.mjs'
import { temporaryFolder } from '../test/support/temporary-folder.ts'
import { judge } from './bounds.ts'
import { createTokenMaker } from './callers.ts'
import { readResults, writeDocuments } from './documents.ts'
import { guard } from './guard.ts'
import { prepareLoad } from './load.ts'
import { commitOf, machine, versionOf } from './machine.ts'
import { writeMessages } from './message-files.ts'
import { type Options, readOptions, UsageError, usage } from './options.ts'
import type { Build } from './postern.ts'
import { report } from './report.ts'
import type { Results, RowResult } from './results.ts'
import { runRows } from './rounds.ts'
import { type Bench, groups, type Row } from './row.ts'
import { allRows, chooseRows, quickRows } from './rows/index.ts'
import { connections, httpConnections, streams } from './traffic.ts'

const checkout = fileURLToPath(new URL('..', import.meta.url))

/** @returns the exit code */
async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args)
  if (options.mode === 'help') return print(usage)
  if (options.mode === 'list')
    return print(allRows.map(({ id, group, title }) => `${group.padEnd(8)} ${id.padEnd(20)} ${title}`).join('\n'))
  if (options.mode === 'show') {
    if (!existsSync(options.show ?? '')) throw new UsageError(`--show ${options.show}: there is no such file`)
    return show(readResults(options.show ?? ''))
  }
  const rows = options.mode === 'quick' ? allRows.filter(({ id }) => quickRows.includes(id)) : chosen(options.rows)
  const build: Build = { main: join(checkout, 'dist/main.js'), version: packageVersion() }
  if (!existsSync(build.main)) throw new SetupError('dist/main.js is missing: start this by npm run bench, which builds it')
  await prepareLoad()
  const folder = temporaryFolder('bench')
  process.on('exit', folder.remove)
  if (options.mode === 'guard') return await guard({ build, checkout, folder: folder.path, plan: options.plan, base: options.base, say })
  const results = await measure(rows, options, build, folder.path)
  return conclude(results, options)
}

function chosen(words: readonly string[] | undefined): readonly Row[] {
  if (words === undefined) return allRows
  const rows = chooseRows(words)
  if ('unknown' in rows) throw new UsageError(`--rows ${rows.unknown}: no row or group has this name; --list names them`)
  return rows
}

async function measure(rows: readonly Row[], { plan }: Options, build: Build, folder: string): Promise<Results> {
  const needs = (what: 'envoy' | 'redis') => rows.some((row) => row.needs?.includes(what))
  const envoy = needs('envoy') ? await ensureEnvoy() : undefined
  const redis = needs('redis') ? await ensureRedis() : undefined
  const bench: Bench = {
    build,
    messages: writeMessages(folder),
    tokens: createTokenMaker(),
    ...(envoy === undefined ? {} : { envoy }),
    ...(redis === undefined ? {} : { redis }),
  }
  const measured: RowResult[] = []
  for (const group of Object.keys(groups)) {
    const own = rows.filter((row) => row.group === group)
    if (own.length > 0) measured.push(...(await runRows(own, bench, plan, folder, say)))
  }
  return {
    postern: { version: build.version, ...commitOf(checkout) },
    date: new Date().toISOString(),
    machine: machine(),
    versions: {
      node: process.version,
      ...(envoy === undefined ? {} : { envoy: versionOf(envoy) }),
      ...(redis === undefined ? {} : { redis: versionOf(redis) }),
    },
    settings: { ...plan, connections, streams, http_connections: httpConnections },
    rows: measured,
  }
}

/** Prints the tables and the verdicts. @returns the exit code: 1 where a promise was broken beyond noise */
function show(results: Results): number {
  print(`${report(results, referenceOf)}\n`)
  return judge(results).some(({ outcome }) => outcome === 'broken') ? 1 : 0
}

const referenceOf = (group: string): string | undefined => allRows.find((row) => row.group === group && row.reference)?.id

/** Prints and writes what came out. @returns the exit code */
function conclude(results: Results, options: Options): number {
  const code = show(results)
  const { commit } = results.postern
  const file = options.out ?? join(checkout, 'bench/results', `${results.date.slice(0, 19).replaceAll(':', '')}-${commit}.json`)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(results, undefined, 2)}\n`)
  print(`Written to ${file}`)
  if (options.writeDocs) writeDocuments(join(checkout, 'docs/performance'), results, referenceOf)
  const failed = results.rows.some(({ problem }) => problem !== undefined)
  return options.mode === 'quick' && failed ? 1 : code
}

const packageVersion = (): string => (JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { version: string }).version

function print(text: string): 0 {
  process.stdout.write(`${text}\n`)
  return 0
}

// Servers run in groups of their own and are killed when this process ends, however it ends.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => process.exit(128 + constants.signals[name]))

try {
  process.exit(await main(process.argv.slice(2)))
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`bench: ${error.message}\n\n${usage}\n`)
    process.exit(2)
  }
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`bench: ${error.message}\n`)
  process.exit(1)
}
