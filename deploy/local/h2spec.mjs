/** Finds h2spec, the conformance tests of HTTP/2, or builds it from source with Go. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureGoProgram } from './go-program.mjs'

const version = '2.2.1'
const source = 'github.com/summerwind/h2spec'

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

/** $POSTERN_H2SPEC, else an `h2spec` on PATH that runs, else one built by Go in the cache; answers as ensureGoProgram does. */
export const ensureH2spec = () =>
  ensureGoProgram({
    ...{ name: 'h2spec', title: 'h2spec', version, env: 'POSTERN_H2SPEC', asks: '--version', go: '1.21' },
    build: async ({ fetch, compile }) => {
      writeFileSync(join(await fetch(`${source}@v${version}+incompatible`), 'go.mod'), moduleFile)
      await compile('./cmd/h2spec', { ldflags: `-X main.VERSION=${version}` })
    },
  })
