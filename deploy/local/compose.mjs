/** Finds Docker Compose, or builds it from source with Go as a plugin of the docker command. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ensureGoProgram } from './go-program.mjs'

const version = '2.40.3'
const source = 'github.com/docker/compose/v2'

/** Where the docker command looks for plugins when $DOCKER_CONFIG names no other place. */
const folders = [
  join(process.env.DOCKER_CONFIG || join(homedir(), '.docker'), 'cli-plugins'),
  '/usr/local/lib/docker/cli-plugins',
  '/usr/local/libexec/docker/cli-plugins',
  '/usr/lib/docker/cli-plugins',
  '/usr/libexec/docker/cli-plugins',
]

/**
 * $POSTERN_COMPOSE (a `docker-compose` of version 2 or newer), else the docker command's own plugin, else one built by Go in the cache;
 * answers as ensureGoProgram does. Run it by its path, as `docker-compose ARGS`: a plugin answers to that too, so that nothing has to be
 * installed.
 */
export const ensureCompose = () =>
  ensureGoProgram({
    ...{ name: 'docker-compose', title: 'Docker Compose', version, env: 'POSTERN_COMPOSE', asks: 'version', go: '1.24' },
    takes: 'about five minutes',
    look: () => folders.map((folder) => join(folder, 'docker-compose')),
    build: async ({ fetch, compile }) => {
      await fetch(`${source}@v${version}`)
      // As upstream's own build: no e2e helpers, and no client for a Kubernetes builder.
      await compile('./cmd', { ldflags: `-X ${source}/internal.Version=v${version}`, tags: 'fsnotify' })
    },
  })
