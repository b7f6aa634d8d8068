/** Finds spiffe-helper, which writes a workload's X.509-SVID as PEM files, or builds it from source with Go. */
import { ensureGoProgram } from './go-program.mjs'

const version = '0.11.0'

/** $POSTERN_SPIFFE_HELPER, else a `spiffe-helper` on PATH that runs, else one built by Go in the cache; answers as ensureGoProgram does. */
export const ensureSpiffeHelper = () =>
  ensureGoProgram({
    ...{ name: 'spiffe-helper', title: 'spiffe-helper', version, env: 'POSTERN_SPIFFE_HELPER', asks: '-version', go: '1.24' },
    build: async ({ fetch, compile }) => {
      await fetch(`github.com/spiffe/spiffe-helper@v${version}`)
      await compile('./cmd/spiffe-helper')
    },
  })
