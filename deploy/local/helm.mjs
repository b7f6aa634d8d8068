/** Finds Helm, which renders the chart of deploy/helm, or builds it from source with Go. */
import { ensureGoProgram } from './go-program.mjs'

const version = '4.3.1'
const source = 'helm.sh/helm/v4'

/** $POSTERN_HELM, else a `helm` on PATH that runs, else one built by Go in the cache; answers as ensureGoProgram does. */
export const ensureHelm = () =>
  ensureGoProgram({
    ...{ name: 'helm', title: 'Helm', version, env: 'POSTERN_HELM', asks: 'version', go: '1.26', takes: 'about five minutes' },
    build: ({ install }) => install(`${source}/cmd/helm@v${version}`, `-s -w -X ${source}/internal/version.version=v${version}`),
  })
