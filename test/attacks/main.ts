/** `npm run attacks`: the attack corpus against Postern, or against another ext_authz server. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type CaseClass, readCases } from './case.ts'
import { type Row, rowsOf, runCorpus } from './corpus.ts'
import { handedOut } from './handed.ts'
import { opaLacks, serveOpa } from './opa.ts'
import type { Result } from './run.ts'
import { type Server, servePostern } from './serve.ts'
import { weaken } from './weaken.ts'
import { startWorld, type World } from './world.ts'

const usage = `npm run attacks [-- OPTIONS]

  --count             the number of cases, and no more
  --class NAME        only this class; may be repeated
  --grep TEXT         only cases whose name holds this
  --json              results as JSON
  --verbose           every case, with how it came out
  --target HOST:PORT  another ext_authz server; its policy knows what world.json says (docs/attacks.md)
  --lacks A,B         features that it does not have: cases that need one are not applicable
  --world FOLDER      keys and world.json; ~/.cache/postern/attacks unless given
  --prepare           writes world.json, and ends
  --opa               OPA-Envoy with the policy in test/attacks/opa
  --weaken            each deliberate weakening of Postern must be noticed; --only NAME for one
`

/** What cases do through Postern's admin API, or behind its second policy: of another server, nobody can. */
const ownApi = ['revocation', 'owner-api', 'exchange', 'ways']

/** The issuer that a target asks for keys; its policy names the port, so it stays. */
const issuerPort = 18_180

const { values } = parseArgs({
  options: {
    count: { type: 'boolean' },
    class: { type: 'string', multiple: true },
    grep: { type: 'string' },
    json: { type: 'boolean' },
    verbose: { type: 'boolean' },
    target: { type: 'string' },
    lacks: { type: 'string' },
    world: { type: 'string' },
    prepare: { type: 'boolean' },
    opa: { type: 'boolean' },
    weaken: { type: 'boolean' },
    only: { type: 'string' },
    help: { type: 'boolean' },
  },
})

const say = (text: string): void => void process.stdout.write(`${text}\n`)

process.exitCode = await main()

async function main(): Promise<number> {
  if (values.help) {
    say(usage)
    return 0
  }
  const classes = chosen(readCases())
  const count = classes.reduce((sum, { cases }) => sum + cases.length, 0)
  if (values.count) {
    say(String(count))
    return 0
  }
  if (count === 0) {
    say('no case is called so')
    return 2
  }
  const features = new Set(readCases().flatMap(({ cases }) => cases.flatMap(({ needs }) => needs)))
  const unknown = values.lacks?.split(',').find((word) => !features.has(word))
  if (unknown !== undefined) {
    say(`no case needs ${unknown}; --lacks takes ${[...features].sort().join(', ')}`)
    return 2
  }
  if (values.weaken) return await weaken(classes, values.only, say)
  const kept =
    values.target !== undefined || values.prepare ? { folder: values.world ?? join(homedir(), '.cache/postern/attacks'), issuerPort } : {}
  const world = await startWorld({ ...kept, ...(values.target !== undefined && { target: values.target }) })
  try {
    if (values.prepare) {
      say(`${kept.folder}/world.json`)
      return 0
    }
    const server = await serve(world)
    try {
      const lacks = new Set([...(values.opa ? opaLacks : (values.lacks?.split(',') ?? [])), ...(values.target === undefined ? [] : ownApi)])
      const strict = values.target === undefined && !values.opa
      const results = await runCorpus(world, classes, { strict, lacks, ...(strict && { handed: await handedOut(world) }) })
      show(classes, results)
      for (const crash of server?.crashes ?? []) process.stderr.write(`the server ended and was started again: ${crash}\n`)
      return results.some(({ verdict }) => verdict === 'broken') ? 1 : 0
    } finally {
      await server?.stop()
    }
  } finally {
    await world.stop()
  }
}

async function serve(world: World): Promise<Server | undefined> {
  if (values.target !== undefined) return undefined
  return values.opa ? await serveOpa(world) : await servePostern(world)
}

function chosen(all: readonly CaseClass[]): CaseClass[] {
  const named = values.class === undefined ? all : all.filter(({ name }) => values.class?.includes(name))
  const grep = values.grep
  if (grep === undefined) return [...named]
  return named
    .map((one) => ({ ...one, cases: one.cases.filter(({ name }) => name.includes(grep)) }))
    .filter(({ cases }) => cases.length > 0)
}

function show(classes: readonly CaseClass[], results: readonly Result[]): void {
  const rows = rowsOf(classes, results)
  if (values.json) {
    const told = results.map(({ case: { class: name, name: what, advisory, expect }, verdict, detail }) => ({
      class: name,
      name: what,
      advisory,
      expect,
      verdict,
      detail,
    }))
    say(JSON.stringify({ classes: rows, cases: told }, null, 2))
    return
  }
  for (const { case: one, verdict, detail } of results) {
    if (verdict === 'held' && !values.verbose) continue
    if (verdict === 'not applicable' && !values.verbose) continue
    const advisory = one.advisory.length > 0 ? ` (${one.advisory.join(', ')})` : ''
    say(`${verdict === 'held' ? '✓' : verdict === 'broken' ? '✗' : '·'} ${one.class}: ${one.name}${advisory}\n    ${detail.slice(0, 300)}`)
  }
  say(tableOf(rows))
}

function tableOf(rows: readonly Row[]): string {
  const cells = [
    ['class', 'cases', 'held', 'by error', 'broken', 'n/a', 'pending'],
    ...rows.map((row) => [row.name, row.cases, row.held, row.byError, row.broken, row.notApplicable, row.pending].map(String)),
  ]
  const widths = cells[0]!.map((_, at) => Math.max(...cells.map((row) => row[at]!.length)))
  return cells.map((row) => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  ')).join('\n')
}
