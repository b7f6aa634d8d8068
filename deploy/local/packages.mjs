/** Installs the npm packages and builds dist/, each only when something changed. */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout, step } from './cache.mjs'
import { run, SetupError } from './command.mjs'
import { withLock } from './lock.mjs'

const lockfile = join(checkout, 'package-lock.json')
const modules = join(checkout, 'node_modules')
const installed = join(modules, '.postern-lock-hash')
const dist = join(checkout, 'dist')
const built = join(dist, '.sources-hash')
const compiled = ['served.json', 'processor.json'].map((name) => join(checkout, 'proto', name))
/** One lock a checkout: two commands started at once install and build once. */
const lockName = `checkout-${createHash('sha256').update(checkout).digest('hex').slice(0, 12)}`

/**
 * Runs `npm ci` when node_modules is missing or was made for another package-lock.json.
 * @throws {SetupError} when npm fails; its own words are in the message
 */
export async function ensurePackages() {
  const wanted = hashOf([lockfile])
  if (textOf(installed) === wanted) return
  await withLock(lockName, async () => {
    if (textOf(installed) === wanted) return
    if (isInstalled()) return writeFileSync(installed, wanted)
    step('installing npm packages (npm ci)')
    await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])
    writeFileSync(installed, wanted)
  })
}

/**
 * Compiles src/ to dist/ and proto/served.proto to JSON beside it when any source is newer than what was built.
 * Needs the packages. The new dist/ replaces the old one in one step, so that a service running from it is not half replaced.
 * @throws {SetupError} with the compiler's errors
 */
export async function ensureBuild() {
  const wanted = hashOf(sources())
  if (textOf(built) === wanted && compiled.every(isFile)) return
  await withLock(lockName, async () => {
    if (textOf(built) === wanted && compiled.every(isFile)) return
    step('building dist/ and proto/')
    const scratch = join(modules, '.postern-build')
    rmSync(scratch, { recursive: true, force: true })
    mkdirSync(scratch, { recursive: true })
    const out = join(scratch, 'dist')
    const compiler = join(modules, 'typescript', 'bin', 'tsc')
    await run(process.execPath, [join(checkout, 'deploy/local/protos.mjs')])
    await run(process.execPath, [compiler, '-p', 'tsconfig.build.json', '--outDir', out])
    if (!isFile(join(out, 'main.js'))) throw new SetupError('the build made no dist/main.js; it comes from src/main.ts')
    writeFileSync(join(out, '.sources-hash'), wanted)
    if (statSync(dist, { throwIfNoEntry: false })) renameSync(dist, join(scratch, 'old'))
    renameSync(out, dist)
    rmSync(scratch, { recursive: true, force: true })
  })
}

/** npm keeps its own copy of the lock; a plain `npm ci` or `npm install` by hand leaves it no older than package-lock.json. */
function isInstalled() {
  const own = statSync(join(modules, '.package-lock.json'), { throwIfNoEntry: false })
  return own !== undefined && own.mtimeMs >= statSync(lockfile).mtimeMs
}

/** @returns {string[]} what dist/ and the JSON in proto/ are made from, in a fixed order */
function sources() {
  const files = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'deploy/local/protos.mjs'].map((name) => join(checkout, name))
  for (const name of readdirSync(join(checkout, 'src'), { recursive: true, encoding: 'utf8' })) {
    const file = join(checkout, 'src', name)
    if (isFile(file)) files.push(file)
  }
  for (const name of readdirSync(join(checkout, 'proto'))) {
    if (name.endsWith('.proto')) files.push(join(checkout, 'proto', name))
  }
  return files.sort()
}

/** @param {string[]} files @returns {string} a hash of their names and contents */
function hashOf(files) {
  const hash = createHash('sha256')
  for (const file of files) {
    hash
      .update(`${file.slice(checkout.length)}\0`)
      .update(readFileSync(file))
      .update('\0')
  }
  return hash.digest('hex')
}

/** @param {string} path @returns {string | undefined} */
function textOf(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** @param {string} path */
function isFile(path) {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
