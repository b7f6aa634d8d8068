/** Builds Go programs into the cache folder: our own from this checkout, and others from their published modules. */
import { createHash } from 'node:crypto'
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { CommandError, run, which } from '../../deploy/local/command.mjs'
import { once } from '../../deploy/local/once.mjs'

/** Builds take minutes on a small machine: they give way to whatever else runs there. */
const niceness = 15

/** A peer that cannot be had on this machine. The message is one sentence that says what is missing. */
export class PeerUnavailable extends Error {
  override readonly name = 'PeerUnavailable'
}

/**
 * Builds a Go module of this checkout once for each state of its sources.
 * @param folder the module's folder, absolute
 * @param name the program's name
 * @returns the program's absolute path
 * @throws PeerUnavailable where there is no Go, or the build fails
 */
export async function buildOwn(folder: string, name: string): Promise<string> {
  const version = await goVersion()
  const digest = createHash('sha256').update(version)
  for (const file of readdirSync(folder).sort())
    if (/\.go$|^go\.(?:mod|sum)$/.test(file) && !file.endsWith('_test.go'))
      digest.update(`\0${file}\0`).update(readFileSync(join(folder, file)))
  const key = `${name}-${digest.digest('hex').slice(0, 16)}`
  const made = await once(key, `building ${name}`, (scratch) => compile(folder, '.', join(scratch, name), []))
  return join(made, name)
}

/** A program of a published Go module. */
export interface Published {
  /** For example `github.com/open-policy-agent/opa-envoy-plugin`. */
  readonly module: string
  /** With the leading `v`. */
  readonly version: string
  /** The package to build, relative to the module: `./cmd/x`. */
  readonly command: string
  /** The program's name. */
  readonly name: string
  /** How long it took on two idle cores, said on the progress line. */
  readonly seconds: number
  /** Changes the copied sources before they are compiled, for modules that need more than to be copied. */
  readonly adapt?: (source: string) => Promise<void>
  readonly flags?: readonly string[]
  /** Folders of the sources to keep beside the program, for example its CRDs. */
  readonly keep?: readonly string[]
  /** 15 unless said; 19 for what takes ten minutes. */
  readonly niceness?: number
}

/**
 * Fetches a module at its pinned version (checked against the checksum database, as Go does unless told otherwise) and
 * builds one program of it once.
 * @returns the folder that holds the program, and what was to be kept
 * @throws PeerUnavailable where there is no Go, the module cannot be had, or the build fails
 */
export async function buildPublished(program: Published): Promise<string> {
  const version = await goVersion()
  const { module, name, command, flags = [], keep = [], adapt } = program
  const digest = createHash('sha256').update(JSON.stringify([version, module, command, flags, keep, adapt?.toString() ?? '']))
  const key = `${name}-${program.version}-${digest.digest('hex').slice(0, 8)}`
  return await once(key, `building ${name} ${program.version} from source (${program.seconds} s on two idle cores)`, async (scratch) => {
    const source = join(scratch, 'source')
    cpSync(await download(module, program.version), source, { recursive: true })
    // The module cache is read-only, and so is a copy of it.
    await run('chmod', ['-R', 'u+w', source])
    rmSync(join(source, 'vendor'), { recursive: true, force: true })
    await adapt?.(source)
    await compile(source, command, join(scratch, name), flags, program.niceness)
    for (const folder of keep) cpSync(join(source, folder), join(scratch, folder), { recursive: true })
    rmSync(source, { recursive: true, force: true })
  })
}

async function compile(folder: string, command: string, target: string, flags: readonly string[], nice = niceness): Promise<void> {
  const args = ['-n', String(nice), 'go', 'build', '-trimpath', ...flags, '-o', target, command]
  try {
    await run('nice', args, { cwd: folder, env: { CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '-buildvcs=false' } })
  } catch (error) {
    if (error instanceof CommandError)
      throw new PeerUnavailable(`${command} of ${folder} could not be built: ${error.message}`, { cause: error })
    throw error
  }
}

async function download(module: string, version: string): Promise<string> {
  try {
    const found: unknown = JSON.parse(await run('go', ['mod', 'download', '-json', `${module}@${version}`], { env: { GOWORK: 'off' } }))
    if (typeof found === 'object' && found !== null && 'Dir' in found && typeof found.Dir === 'string') return found.Dir
    throw new PeerUnavailable(`go mod download of ${module}@${version} named no folder`)
  } catch (error) {
    if (error instanceof CommandError)
      throw new PeerUnavailable(`${module}@${version} could not be fetched: ${error.message}`, { cause: error })
    throw error
  }
}

async function goVersion(): Promise<string> {
  if (which('go') === undefined)
    throw new PeerUnavailable('Go is needed to build the peers and the load generator: install Go 1.26 or newer')
  return (await run('go', ['env', 'GOVERSION', 'GOOS', 'GOARCH'])).trim()
}
