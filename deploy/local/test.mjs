/**
 * `npm test`: fetches what the tests need, runs the checks and every group of tests that is ready in about two minutes, and
 * prints coverage and totals. `npm run test:all` goes on with the groups whose programs are built from source first.
 *
 *   npm test                          checks unit contract e2e clients realms upstreams federation attacks dex keycloak faults conformance floods
 *   npm run test:all                  those, and kubernetes workloads spire everything manifests upgrade images istio
 *   npm test -- unit spire            some groups, of either kind
 *   npm test -- test/core             only files whose path holds this
 *   npm test -- --grep 'no_route'     only tests whose title matches
 *   npm run test:all -- --beyond      only the groups that `npm test` leaves out
 *     --within MINUTES                leaves out each that would not be done by then, with what it has to build
 *
 * Exit code 0 when nothing failed, 1 when something did, 2 for wrong arguments. The last line is `N passed, N failed, N skipped`,
 * and what groups were left out. With POSTERN_TEST_TOTALS, a file, the totals of the runs before this one are counted in.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { step } from './cache.mjs'
import { CommandError, run, SetupError } from './command.mjs'
import { ensureDex } from './dex.mjs'
import { ensureEnvoy } from './envoy.mjs'
import { groupOf, groups, isLong, isServed, limitOf, long } from './groups.mjs'
import { ensureH2spec } from './h2spec.mjs'
import { ensureKeycloak } from './keycloak.mjs'
import { ensureNode } from './node.mjs'
import { ensureBuild, ensurePackages } from './packages.mjs'
import { minutesFor, programs } from './programs.mjs'
import { ensureRedis } from './redis.mjs'
import { ensureSchemathesis } from './schemathesis.mjs'
import { ensureAgentcubeSdk } from './sdk.mjs'
import { runMocha, testFiles } from './suites.mjs'

/** @typedef {import('./groups.mjs').Group} Group */

const { values, positionals } = readArguments()
const chosen = positionals.filter((word) => groups.some((group) => group === word))
const paths = positionals.filter((word) => !chosen.includes(word))
const narrowed = chosen.length > 0 || paths.length > 0 || values.grep !== undefined
const filesOf = listFiles()
const wanted = groups.filter((group) => (group === 'checks' ? isWanted(group) : isWanted(group) && filesOf[group].length > 0))
/** Groups that did not run, with why. @type {string[]} */
const leftOut = []
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
  const withServers = wanted.some(isServed)
  if (wanted.some((group) => group !== 'checks')) env.POSTERN_TEST_REDIS = await ensureRedis()
  // The alert rules are tried by promtool.
  if (wanted.includes('unit')) await add('prometheus', 'unit', node, env)
  if (withServers) await fetchServers(env)
  if (wanted.includes('conformance')) {
    await check('h2spec', () => findH2spec(env))
    await check('schemathesis', async () => {
      env.POSTERN_TEST_SCHEMATHESIS = (await ensureSchemathesis()).command
    })
  }
  for (const group of wanted) {
    if (group === 'checks') continue
    if (isLong(group) && !(await prepare(group, node, env))) continue
    await runGroup(group, node, env)
    // Both transports answer alike: what goes through Envoy is asked of the other one, too.
    if (group === 'e2e') await runGroup(group, node, { ...env, POSTERN_LISTEN_CHECK_TRANSPORT: 'grpc-js' }, ', transport: grpc-js')
  }
  if (wanted.some((group) => group !== 'checks') && values.grep === undefined && !values.beyond) await printCoverage(node)
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
  try {
    await run('docker', ['info'], { limit: 3_000 })
    env.POSTERN_TEST_DOCKER = '1'
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
  }
}

/**
 * Gets what a long group needs.
 * @param {keyof typeof long} group @param {string} node @param {Record<string, string>} env is added to
 * @returns {Promise<boolean>} false where the group is left out: no time, or something cannot be got, which counts as one failure
 */
async function prepare(group, node, env) {
  const { typical, programs: names } = long[group]
  const needed = names.reduce((sum, name) => sum + minutesFor(name), typical)
  const left = values.within === undefined ? Number.POSITIVE_INFINITY : Number(values.within) - performance.now() / 60_000
  if (needed > left) {
    totals.skipped += filesOf[group].length
    leftOut.push(`${group} (about ${Math.ceil(needed)} minutes, and ${Math.max(0, Math.floor(left))} are left)`)
    return false
  }
  try {
    for (const name of names) await add(name, group, node, env)
    return true
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    totals.failed += 1
    problems.push(`${group}: ${error.message}`)
    return false
  }
}

/**
 * Gets one program of programs.mjs.
 * @param {string} name @param {Group} group @param {string} node @param {Record<string, string>} env is added to
 * @throws {SetupError} where it cannot be had, and its tests were asked for: in CI, or by the name of their group
 */
async function add(name, group, node, env) {
  const got = await programs[name]?.get(node)
  if (got === undefined) throw new SetupError(`${group} needs ${name}, which programs.mjs does not know`)
  if ('env' in got) return void Object.assign(env, got.env)
  if (process.env.CI === 'true' || (isLong(group) && chosen.includes(group))) throw new SetupError(got.reason)
  process.stdout.write(`Without ${name}, whose tests are skipped: ${got.reason}\n`)
  leftOut.push(`what needs ${name} in ${group}`)
}

/** @param {Record<string, string>} env is added to */
async function findH2spec(env) {
  const found = await ensureH2spec()
  if ('path' in found) env.POSTERN_TEST_H2SPEC = found.path
  else process.stdout.write(`Without h2spec, whose tests are skipped: ${found.reason}\n`)
}

/** @param {Group} group @param {string} node @param {Record<string, string>} env @param {string} [how] told beside its name */
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
    limit: limitOf(group),
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
  const { passed, failed, skipped, missing } = withEarlier()
  const without = missing.length === 0 ? '' : `; left out: ${missing.join(', ')}`
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped${without}\n`)
  return totals.failed === 0 ? 0 : 1
}

/** The totals, with those of the runs that wrote to the same file before, which is written anew. */
function withEarlier() {
  const file = process.env.POSTERN_TEST_TOTALS
  const sum = { ...totals, missing: leftOut }
  if (file === undefined) return sum
  if (existsSync(file)) {
    const before = JSON.parse(readFileSync(file, 'utf8'))
    for (const name of /** @type {const} */ (['passed', 'failed', 'skipped'])) sum[name] += before[name]
    sum.missing = [...before.missing, ...leftOut]
  }
  writeFileSync(file, JSON.stringify(sum))
  return sum
}

/** @param {'checks' | Group} group */
function isWanted(group) {
  if (chosen.length > 0) return chosen.includes(group)
  if (group === 'checks') return !narrowed && !values.beyond
  if (paths.length > 0) return true
  return isLong(group) ? values.all === true || values.beyond === true : !values.beyond
}

/** @returns {Record<Group, string[]>} the files to run */
function listFiles() {
  const all = testFiles('test').filter((file) => paths.length === 0 || paths.some((path) => file.includes(path.replace(/^\.\//, ''))))
  const named = groups.filter((group) => group !== 'checks')
  return /** @type {Record<Group, string[]>} */ (
    Object.fromEntries(named.map((group) => [group, all.filter((file) => groupOf(file) === group)]))
  )
}

function readArguments() {
  try {
    const read = parseArgs({
      options: {
        grep: { type: 'string', short: 'g' },
        all: { type: 'boolean' },
        beyond: { type: 'boolean' },
        within: { type: 'string' },
      },
      allowPositionals: true,
    })
    const unknown = read.positionals.find((word) => !groups.some((group) => group === word) && !/[/.]/.test(word))
    const { within } = read.values
    if (within !== undefined && !/^\d+(?:\.\d+)?$/.test(within)) process.stderr.write(`--within ${within}: expected minutes, such as 45\n`)
    else if (unknown === undefined) return read
    else process.stderr.write(`unknown group ${unknown}; there are ${groups.join(', ')}\n`)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
  }
  process.exit(2)
}
