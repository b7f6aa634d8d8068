/** Finds kustomize, which renders deploy/kubernetes, or builds it from source with Go. */
import { ensureGoProgram } from './go-program.mjs'

const version = '5.8.1'

/** $POSTERN_KUSTOMIZE, else a `kustomize` on PATH that runs, else one built by Go in the cache; answers as ensureGoProgram does. */
export const ensureKustomize = () =>
  ensureGoProgram({
    ...{ name: 'kustomize', title: 'kustomize', version, env: 'POSTERN_KUSTOMIZE', asks: 'version', go: '1.24', takes: 'about a minute' },
    build: ({ install }) =>
      install(`sigs.k8s.io/kustomize/kustomize/v5@v${version}`, `-s -w -X sigs.k8s.io/kustomize/api/provenance.version=v${version}`),
  })
