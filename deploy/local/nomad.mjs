/** Builds, from Nomad's sources, what reads a job file as Nomad does: neither agent nor server. */
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureGoProgram } from './go-program.mjs'

const version = '1.10.4'
const api = 'github.com/hashicorp/nomad/api'
const program = fileURLToPath(new URL('nomad-jobspec.go', import.meta.url))

/** $POSTERN_NOMAD_JOBSPEC, else one built by Go in the cache; answers as ensureGoProgram does. */
export const ensureNomadJobspec = () =>
  ensureGoProgram({
    ...{ name: 'nomad-jobspec', title: 'the reader of Nomad jobs', version, env: 'POSTERN_NOMAD_JOBSPEC', asks: '--help', go: '1.26' },
    build: async ({ fetch, edit, compile }) => {
      const sources = await fetch(`github.com/hashicorp/nomad@v${version}`)
      // A module of its own in the same repository, which this one's archive leaves out; of its versions, one that proxies have.
      await edit(`-dropreplace=${api}`, `-require=${api}@v0.0.0-20260324203407-b27b0c2e019a`)
      mkdirSync(join(sources, 'jobspec'))
      cpSync(program, join(sources, 'jobspec/main.go'))
      await compile('./jobspec')
    },
  })
