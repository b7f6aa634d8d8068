import type { Command } from 'commander'
import { serve } from '../compose.ts'
import { StartRefused } from '../core/start-refused.ts'
import { CommandFailed, type Io } from './io.ts'
import { type CommonOptions, withCommon } from './policy.ts'

/** Runners pass a signal on that the whole process group has got already: within this time it is one and the same. */
const sameSignalMs = 1000

/** `postern serve`: until SIGTERM or SIGINT, which drain; a second one ends at once. SIGHUP looks at the policy's files at once. */
export function serveCommand(program: Command, io: Io): void {
  withCommon(program.command('serve').description('serve checks until SIGTERM'), io).action(async (options: CommonOptions) => {
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
      const service = await serve({ config: options.config, env: io.env, realm: options.realm })
      reload = service.reload
      await stopped
      await service.close()
    } catch (cause) {
      if (cause instanceof StartRefused) throw new CommandFailed(cause.fault === 'policy' ? 2 : 1, ...cause.sentences)
      throw cause
    } finally {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal).off('SIGHUP', onHangUp)
    }
  })
}
