/**
 * `npm test`: fetches what the tests need, runs the checks and every group of tests, and prints coverage and totals.
 *
 *   npm test                          everything
 *   npm test -- unit e2e              some groups: checks unit contract e2e clients federation kubernetes attacks dex keycloak
 *                                     faults conformance floods
 *   npm test -- test/core             only files whose path holds this
 *   npm test -- --grep 'no_route'     only tests whose title matches
 *
 * Exit code 0 when nothing failed, 1 when something did, 2 for wrong arguments. The last line is `N passed, N failed, N skipped`.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { step } from './cache.mjs'
import { CommandError, run, SetupError } from './command.mjs'
import { ensureDex } from './dex.mjs'
import { ensureEnvoy } from './envoy.mjs'
import { ensureFederation, findKubernetes } from './federation.mjs'
import { ensureH2spec } from './h2spec.mjs'
import { ensureKeycloak } from './keycloak.mjs'
import { ensureNode } from './node.mjs'
import { ensureBuild, ensurePackages } from './packages.mjs'
import { ensureRedis } from './redis.mjs'
import { ensureSchemathesis } from './schemathesis.mjs'
import { ensureAgentcubeSdk } from './sdk.mjs'
import { runMocha, testFiles } from './suites.mjs'

const minutes = 60_000
/** Folders under test/ that need real servers, in the order in which they run … */
const served = {
  contract: 6 * minutes,
  e2e: 18 * minutes,
  clients: 3 * minutes,
  federation: 5 * minutes,
  kubernetes: 8 * minutes,
  attacks: 5 * minutes,
  dex: 3 * minutes,
  keycloak: 6 * minutes,
  faults: 25 * minutes,
}
/** … and those that press on the check listener alone; every other folder is `unit`. */
const pressing = { conformance: 6 * minutes, floods: 4 * minutes }
const groups = { checks: 0, unit: 22 * minutes, ...served, ...pressing }

/** @typedef {keyof typeof groups} Group */

const { values, positionals } = readArguments()
const chosen = /** @type {Group[]} */ (positionals.filter((word) => word in groups))
const paths = positionals.filter((word) => !(word in groups))
const narrowed = chosen.length > 0 || paths.length > 0 || values.grep !== undefined
const filesOf = listFiles()
const wanted = /** @type {Group[]} */ (Object.keys(groups)).filter((group) =>
  group === 'checks' ? !narrowed || chosen.includes('checks') : filesOf[group].length > 0,
)
const totals = { passed: 0, failed: 0, skipped: 0 }
/** @type {string[]} */
const problems = []
const folder = mkdtempSync(join(tmpdir(), 'postern-test-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
  process.on(name, () => process.exit(128 + constants.signals[name]))

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stdout.write(`${error.message}\n`)
  totals.failed += 1
  process.exitCode = finish()
}

async function main() {
  await ensurePackages()
  const node = await ensureNode()
  /** @type {Record<string, string>} */
  const env = { POSTERN_TEST_NODE: node, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` }
  await check('build', ensureBuild)
  if (wanted.includes('checks')) {
    await check('biome check', () => run(node, ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'], { env }))
    await check('tsc --noEmit', () => run(node, ['node_modules/typescript/bin/tsc', '--noEmit'], { env }))
  }
  const withServers = wanted.some((group) => group in served)
  if (wanted.some((group) => group !== 'checks')) env.POSTERN_TEST_REDIS = await ensureRedis()
  if (withServers) await fetchServers(env)
  if (wanted.includes('conformance')) {
    await check('h2spec', () => findH2spec(env))
    await check('schemathesis', async () => {
      env.POSTERN_TEST_SCHEMATHESIS = (await ensureSchemathesis()).command
    })
  }
  for (const group of wanted) {
    if (group !== 'checks') await runGroup(group, node, env)
    // Both transports answer alike: what goes through Envoy is asked of the other one, too.
    if (group === 'e2e') await runGroup(group, node, { ...env, POSTERN_LISTEN_CHECK_TRANSPORT: 'grpc-js' }, ', transport: grpc-js')
  }
  if (wanted.some((group) => group !== 'checks') && values.grep === undefined) await printCoverage(node)
  if (withServers) {
    const said = env.POSTERN_TEST_DOCKER ? 'answered: testcontainers took part' : 'did not answer: native servers only'
    process.stdout.write(`A Docker engine ${said}.\n`)
  }
  return finish()
}

/** @param {Record<string, string>} env is added to */
async function fetchServers(env) {
  env.POSTERN_TEST_ENVOY = await ensureEnvoy()
  env.POSTERN_TEST_SDK_PYTHON = await ensureAgentcubeSdk()
  if (wanted.includes('keycloak') || wanted.includes('faults')) {
    const keycloak = await ensureKeycloak()
    if ('home' in keycloak) {
      env.POSTERN_TEST_KEYCLOAK = keycloak.home
      env.POSTERN_TEST_JAVA = keycloak.java
    } else if (process.env.CI === 'true') throw new SetupError(`${keycloak.reason}; in CI its tests must run`)
    else process.stdout.write(`Without Keycloak: ${keycloak.reason}\n`)
  }
  if (wanted.includes('dex')) {
    const dex = await ensureDex()
    if ('path' in dex) env.POSTERN_TEST_DEX = dex.path
    else process.stdout.write(`Without dex, whose tests are skipped: ${dex.reason}\n`)
  }
  if (wanted.includes('federation') || wanted.includes('kubernetes')) {
    const ensure = wanted.includes('federation') ? ensureFederation : findKubernetes
    const { env: found, reasons } = await ensure(env.POSTERN_TEST_NODE ?? process.execPath)
    Object.assign(env, found)
    for (const reason of reasons) process.stdout.write(`Without a real server, whose tests are skipped: ${reason}\n`)
  }
  try {
    await run('docker', ['info'], { limit: 3_000 })
    env.POSTERN_TEST_DOCKER = '1'
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
  }
}

/** @param {Record<string, string>} env is added to */
async function findH2spec(env) {
  const found = await ensureH2spec()
  if ('path' in found) env.POSTERN_TEST_H2SPEC = found.path
  else process.stdout.write(`Without h2spec, whose tests are skipped: ${found.reason}\n`)
}

/** @param {Exclude<Group, 'checks'>} group @param {string} node @param {Record<string, string>} env @param {string} [how] told beside its name */
async function runGroup(group, node, env, how = '') {
  const files = filesOf[group]
  if ((group === 'keycloak' && env.POSTERN_TEST_KEYCLOAK === undefined) || (group === 'dex' && env.POSTERN_TEST_DEX === undefined)) {
    process.stdout.write(`\n${group}: skipped, ${files.length} files\n`)
    totals.skipped += files.length
    return
  }
  step(`tests: ${group}${how}`)
  process.stdout.write(`\n${group}${how}\n`)
  const result = await runMocha({
    node,
    files,
    args: [...(values.grep === undefined ? [] : ['--grep', values.grep]), ...(process.env.CI === 'true' ? ['--forbid-only'] : [])],
    // Counting what runs makes a service slower than it is, which the floods would show.
    env: group === 'floods' ? env : { ...env, NODE_V8_COVERAGE: join(folder, 'coverage') },
    totals: join(folder, `${group}${how === '' ? '' : '-again'}.json`),
    limit: groups[group],
  })
  totals.passed += result.passed
  totals.failed += result.failed
  totals.skipped += result.skipped
  if (result.problem) problems.push(`${group}${how}: ${result.problem}`)
}

/** Counts as one test. @param {string} name @param {() => Promise<unknown>} work */
async function check(name, work) {
  try {
    await work()
    totals.passed += 1
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    totals.failed += 1
    problems.push(`${name} failed`)
    process.stdout.write(`✗ ${name}\n${error.message}\n`)
  }
}

/** @param {string} node */
async function printCoverage(node) {
  if (!existsSync(join(folder, 'coverage'))) return void process.stdout.write('No coverage: no test process came to its end.\n')
  const args = [
    'node_modules/c8/bin/c8.js',
    'report',
    '--temp-directory',
    join(folder, 'coverage'),
    '--all',
    '--src',
    'src',
    '--include',
    'src/**',
  ]
  try {
    const text = await run(node, [...args, '--extension', '.ts', '--reporter', 'text-summary', '--reporter', 'lcovonly'])
    process.stdout.write(`${text.trimEnd()}\n`)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    totals.failed += 1
    problems.push(`coverage: ${error.message}`)
  }
}

/** @returns {number} the exit code */
function finish() {
  for (const problem of problems) process.stdout.write(`✗ ${problem}\n`)
  process.stdout.write(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped\n`)
  return totals.failed === 0 ? 0 : 1
}

/** @returns {Record<Exclude<Group, 'checks'>, string[]>} the files to run */
function listFiles() {
  const all = testFiles('test').filter((file) => paths.length === 0 || paths.some((path) => file.includes(path.replace(/^\.\//, ''))))
  const groupOf = (/** @type {string} */ file) => {
    const name = file.split('/')[1] ?? ''
    return name in served || name in pressing ? name : 'unit'
  }
  const list = (/** @type {Exclude<Group, 'checks'>} */ group) =>
    chosen.length > 0 && !chosen.includes(group) ? [] : all.filter((file) => groupOf(file) === group)
  return {
    unit: list('unit'),
    contract: list('contract'),
    e2e: list('e2e'),
    clients: list('clients'),
    kubernetes: list('kubernetes'),
    federation: list('federation'),
    attacks: list('attacks'),
    dex: list('dex'),
    keycloak: list('keycloak'),
    faults: list('faults'),
    conformance: list('conformance'),
    floods: list('floods'),
  }
}

function readArguments() {
  try {
    const read = parseArgs({ options: { grep: { type: 'string', short: 'g' } }, allowPositionals: true })
    const unknown = read.positionals.find((word) => !(word in groups) && !/[/.]/.test(word))
    if (unknown === undefined) return read
    process.stderr.write(`unknown group ${unknown}; there are ${Object.keys(groups).join(', ')}\n`)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
  }
  process.exit(2)
}
