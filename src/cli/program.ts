import { Command, CommanderError } from 'commander'
import { version } from '../compose.ts'
import { apiKeyCommand } from './api-key.ts'
import { appCommand } from './app.ts'
import { auditCommand } from './audit.ts'
import { connectCommand } from './connect.ts'
import { explainCommand } from './explain.ts'
import { initCommand } from './init.ts'
import { CommandFailed, type Io } from './io.ts'
import { keyCommand } from './key.ts'
import { launchTokenCommand } from './launch-token.ts'
import { lintCommand } from './lint.ts'
import { ownerCommand } from './owner.ts'
import { revokeCommand } from './revoke.ts'
import { routesCommand } from './routes.ts'
import { serveCommand } from './serve.ts'
import { stateCommand } from './state.ts'
import { statusCommand } from './status.ts'
import { syncCommand } from './sync.ts'
import { testCommand } from './test.ts'
import { tokenCommand } from './token.ts'

const commands = [
  serveCommand,
  lintCommand,
  explainCommand,
  routesCommand,
  testCommand,
  statusCommand,
  stateCommand,
  ownerCommand,
  keyCommand,
  tokenCommand,
  apiKeyCommand,
  appCommand,
  launchTokenCommand,
  auditCommand,
  revokeCommand,
  syncCommand,
  connectCommand,
  initCommand,
]

/**
 * Runs one command line.
 * @param argv the words after the program's name
 * @returns the exit code: 0, 1 (denied or failed), 2 (wrong usage, or a broken file)
 */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const program = new Command('postern')
    .description('Envoy external authorization, with ownership and a small token service')
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: io.err })
    .showHelpAfterError('(postern help <command> tells its options)')
  for (const add of commands) add(program, io)
  inherit(program)
  try {
    await program.parseAsync(argv, { from: 'user' })
    return 0
  } catch (cause) {
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? 0 : 2
    if (cause instanceof CommandFailed) {
      for (const sentence of cause.sentences) io.err(`${sentence}\n`)
      return cause.code
    }
    io.err(`postern: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}\n`)
    return 1
  }
}

/** Commands that exist already do not take over how their parent ends and writes. */
function inherit(parent: Command): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent)
    inherit(command)
  }
}
