import type { Command } from 'commander'
import { serve } from '../compose.ts'
import { StartRefused } from '../core/start-refused.ts'
import { CommandFailed, type Io } from './io.ts'
import { type CommonOptions, withCommon } from './policy.ts'

/** `postern serve`: until SIGTERM or SIGINT, which drain; a second one ends at once. */
export function serveCommand(program: Command, io: Io): void {
  withCommon(program.command('serve').description('serve checks until SIGTERM'), io).action(async (options: CommonOptions) => {
    let stop: () => void = () => {}
    const stopped = new Promise<void>((resolve) => {
      stop = resolve
    })
    let asked = 0
    const onSignal = (): void => {
      if (++asked > 1) process.exit(1)
      stop()
    }
    // Heard from here on, so that a signal during the start is not lost.
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
    try {
      const service = await serve({ config: options.config, env: io.env, realm: options.realm })
      await stopped
      await service.close()
    } catch (cause) {
      if (cause instanceof StartRefused) throw new CommandFailed(cause.fault === 'policy' ? 2 : 1, ...cause.sentences)
      throw cause
    } finally {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal)
    }
  })
}
