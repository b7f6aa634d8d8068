import { fileURLToPath } from 'node:url'
import { type Command, Option } from 'commander'
import { serveAsWorker } from '../compose/workers-serve.ts'
import { serve } from '../compose.ts'
import { StartRefused } from '../core/start-refused.ts'
import { CommandFailed, type Io } from './io.ts'
import { type CommonOptions, withCommon } from './policy.ts'

/** Runners pass a signal on that the whole process group has got already: within this time it is one and the same. */
const sameSignalMs = 1000

interface ServeOptions extends CommonOptions {
  /** Given by the primary to those that it starts. */
  readonly worker?: string
}

/** The file that a worker is started from: that of this program, from sources or built. */
const entry = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../main.ts' : '../main.js', import.meta.url))

/** `postern serve`: until SIGTERM or SIGINT, which drain; a second one ends at once. SIGHUP looks at the policy's files at once. */
export function serveCommand(program: Command, io: Io): void {
  const command = withCommon(program.command('serve').description('serve checks until SIGTERM'), io)
  command.addOption(new Option('--worker <number>').hideHelp()).action(async (options: ServeOptions) => {
    const { config, realm } = options
    if (options.worker !== undefined) return work(Number(options.worker), { config, env: io.env, realm })
    const args = (number: number) => [
      'serve',
      '--config',
      config,
      ...(realm === undefined ? [] : ['--realm', realm]),
      '--worker',
      `${number}`,
    ]
    let stop: () => void = () => {}
    const stopped = new Promise<void>((resolve) => {
      stop = resolve
    })
    let askedAt: number | undefined
    const onSignal = (): void => {
      if (askedAt !== undefined && performance.now() - askedAt > sameSignalMs) process.exit(1)
      askedAt ??= performance.now()
      stop()
    }
    let reload: () => void = () => {}
    const onHangUp = (): void => reload()
    // A terminal that goes away takes the service with it, as usual; a service without one is told to reload.
    if (!process.stdin.isTTY) process.on('SIGHUP', onHangUp)
    // Heard from here on, so that a signal during the start is not lost.
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
    try {
      const service = await serve({ config, env: io.env, realm, worker: { entry, args, env: io.env } })
      reload = service.reload
      await stopped
      await service.close()
    } catch (cause) {
      // A start that was interrupted, some of whose processes the signal has ended.
      if (askedAt !== undefined && cause instanceof StartRefused) return
      throw failureOf(cause)
    } finally {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal).off('SIGHUP', onHangUp)
    }
  })
}

const failureOf = (cause: unknown): unknown =>
  cause instanceof StartRefused ? new CommandFailed(cause.fault === 'policy' ? 2 : 1, ...cause.sentences) : cause

/** Why a worker refuses to start is for its primary to say. */
async function work(number: number, options: Parameters<typeof serveAsWorker>[1]): Promise<void> {
  const code = await serveAsWorker(number, options).catch((cause: unknown) => {
    throw failureOf(cause)
  })
  if (code !== 0) throw new CommandFailed(code)
}
