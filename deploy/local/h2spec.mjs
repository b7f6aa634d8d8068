/** Finds h2spec, the conformance tests of HTTP/2, or builds it from source with Go. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isExecutable, run, SetupError, which } from './command.mjs'
import { answers, goSources } from './go.mjs'
import { once } from './once.mjs'

const version = '2.2.1'
const source = 'github.com/summerwind/h2spec'
const buildTime = 300_000

/** The sources are older than Go modules, so this says which of its packages they are built with. */
const moduleFile = `module ${source}

go 1.21

require (
	github.com/fatih/color v1.18.0
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/mattn/go-colorable v0.1.13 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
	github.com/spf13/cobra v1.8.1
	github.com/spf13/pflag v1.0.5 // indirect
	golang.org/x/net v0.33.0
	golang.org/x/sys v0.28.0 // indirect
	golang.org/x/text v0.21.0 // indirect
)
`

/**
 * $POSTERN_H2SPEC, else an `h2spec` on PATH that runs, else one built by Go in the cache.
 * @returns {Promise<{ path: string } | { reason: string }>} the absolute path of an h2spec, or why there is none
 * @throws {SetupError} when $POSTERN_H2SPEC does not run, or it cannot be fetched or built
 */
export async function ensureH2spec() {
  const chosen = process.env.POSTERN_H2SPEC
  if (chosen) {
    if (await answers(chosen, '--version')) return { path: chosen }
    throw new SetupError(`POSTERN_H2SPEC=${chosen} does not answer to --version`)
  }
  const found = which('h2spec')
  if (found && (await answers(found, '--version'))) return { path: found }
  const go = which('go')
  if (go === undefined)
    return { reason: 'h2spec is built by Go 1.21 or newer, and go is not on PATH (or set POSTERN_H2SPEC to an h2spec of your own)' }
  const folder = await once(`h2spec-${version}`, `building h2spec ${version} (Go)`, (scratch) => build(go, scratch))
  const path = join(folder, 'h2spec')
  if (!isExecutable(path)) throw new SetupError(`${path} is missing: remove ${folder} and run this again`)
  return { path }
}

/** @param {string} go @param {string} scratch */
async function build(go, scratch) {
  const env = { GOWORK: 'off', GOFLAGS: '', CGO_ENABLED: '0' }
  const sources = await goSources(go, `${source}@v${version}+incompatible`, scratch, env)
  writeFileSync(join(sources, 'go.mod'), moduleFile)
  const args = [
    'build',
    '-mod=mod',
    '-buildvcs=false',
    '-trimpath',
    '-ldflags',
    `-s -w -X main.VERSION=${version}`,
    '-o',
    '../h2spec',
    './cmd/h2spec',
  ]
  await run(go, args, { cwd: sources, env, limit: buildTime })
  rmSync(sources, { recursive: true })
}
