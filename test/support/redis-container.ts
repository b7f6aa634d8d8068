import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { GenericContainer, Wait } from 'testcontainers'
import { temporaryFolder } from './temporary-folder.ts'

const image = 'postern-test/redis:native'

/** Publishes on loopback alone: the test's server is nobody else's. */
class LoopbackContainer extends GenericContainer {
  protected override async beforeContainerCreated(): Promise<void> {
    for (const bindings of Object.values(this.hostConfig.PortBindings ?? {}) as { HostIp?: string }[][])
      for (const binding of bindings) binding.HostIp = '127.0.0.1'
  }
}

/** The machine's own server and the shared libraries that it loads, as a build context of a few files. */
function gather(folder: string): void {
  const named = process.env['POSTERN_TEST_REDIS'] ?? 'redis-server'
  const program = execFileSync('sh', ['-c', 'command -v -- "$0"', named], { encoding: 'utf8' }).trim()
  // `name => /path (address)`, or `/path (address)` for the loader itself.
  const libraries = [...execFileSync('ldd', [program], { encoding: 'utf8' }).matchAll(/(?:=>\s+|^\s+)(\/\S+) \(/gm)].map(
    (match) => match[1]!,
  )
  for (const library of libraries) {
    mkdirSync(join(folder, dirname(library)), { recursive: true })
    copyFileSync(library, join(folder, library))
  }
  copyFileSync(program, join(folder, 'redis-server'))
  writeFileSync(join(folder, '.dockerignore'), 'Dockerfile\n')
  writeFileSync(
    join(folder, 'Dockerfile'),
    'FROM scratch\nCOPY . /\nENTRYPOINT ["/redis-server", "--save", "", "--protected-mode", "no"]\nEXPOSE 6379\n',
  )
}

export interface ContainedRedis {
  readonly url: string
  readonly stop: () => Promise<void>
}

/**
 * Starts Redis in a container whose image holds the native server and nothing else, for no registry is asked.
 * Needs a Docker engine, and `TESTCONTAINERS_RYUK_DISABLED=true` where the reaper's image cannot be had.
 */
export async function startContainedRedis(): Promise<ContainedRedis> {
  const folder = temporaryFolder()
  try {
    gather(folder.path)
    await GenericContainer.fromDockerfile(folder.path).build(image, { deleteOnExit: false })
  } finally {
    folder.remove()
  }
  // The usual wait for the port runs a shell inside, and there is none.
  const ready = Wait.forLogMessage('Ready to accept connections')
  const container = await new LoopbackContainer(image).withExposedPorts(6379).withWaitStrategy(ready).start()
  return {
    url: `redis://127.0.0.1:${container.getMappedPort(6379)}`,
    stop: async () => void (await container.stop()),
  }
}
