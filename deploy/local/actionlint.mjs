/** Finds actionlint, which checks GitHub's workflow files, or builds it from source with Go. */
import { ensureGoProgram } from './go-program.mjs'

const version = '1.7.12'
const source = 'github.com/rhysd/actionlint'

/** $POSTERN_ACTIONLINT, else an `actionlint` on PATH that runs, else one built by Go in the cache; answers as ensureGoProgram does. */
export const ensureActionlint = () =>
  ensureGoProgram({
    ...{ name: 'actionlint', title: 'actionlint', version, env: 'POSTERN_ACTIONLINT', asks: '-version', go: '1.24' },
    build: async ({ fetch, compile }) => {
      await fetch(`${source}@v${version}`)
      await compile('./cmd/actionlint', { ldflags: `-X ${source}.version=${version}` })
    },
  })
