/** Finds egctl, which translates resources as Envoy Gateway does, or builds it from source with Go. */
import { ensureGoProgram } from './go-program.mjs'

const version = '1.8.2'

/** $POSTERN_EGCTL, else an `egctl` on PATH that runs, else one built by Go in the cache; answers as ensureGoProgram does. */
export const ensureEgctl = () =>
  ensureGoProgram({
    ...{ name: 'egctl', title: 'egctl', version, env: 'POSTERN_EGCTL', asks: '--help', go: '1.26', takes: 'about ten minutes' },
    build: async ({ fetch, compile }) => {
      await fetch(`github.com/envoyproxy/gateway@v${version}`)
      await compile('./cmd/egctl')
    },
  })
