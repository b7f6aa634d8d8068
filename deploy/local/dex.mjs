/** Finds dex, a second OpenID Connect issuer for the tests, or builds it from source with Go. */
import { ensureGoProgram } from './go-program.mjs'

const version = '2.41.1'
const source = 'github.com/dexidp/dex'
/** Its tags from 2 on do not follow Go's rules for modules, so that a release is named by its commit. */
const commit = 'v0.0.0-20240807174518-43956db7fd75'
const api = `${source}/api/v2`

/** $POSTERN_DEX, else a `dex` on PATH that runs, else one built by Go in the cache; answers as ensureGoProgram does. */
export const ensureDex = () =>
  ensureGoProgram({
    // Its SQLite is written in C, and this release cannot be built without.
    ...{ name: 'dex', title: 'dex', version, env: 'POSTERN_DEX', asks: 'version', go: '1.21', cc: true },
    build: async ({ fetch, edit, compile }) => {
      await fetch(`${source}@${commit}`)
      // The release replaces its API module by a folder that the fetched module does not hold.
      await edit(`-dropreplace=${api}`, `-require=${api}@v2.2.0`)
      await compile('./cmd/dex', { ldflags: `-X main.version=${version}` })
    },
  })
