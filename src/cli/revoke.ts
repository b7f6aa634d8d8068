import { type Command, Option } from 'commander'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { CommandFailed, type Io, printJson } from './io.ts'

const levels = ['token', 'agent', 'task', 'chain', 'subject', 'client', 'key']

interface RevokeOptions extends AdminOptions {
  readonly level?: string
  readonly target?: string
  readonly lift?: true
}

/** One of the two ways to say the same thing. */
function given(name: string, argument: string | undefined, option: string | undefined): string {
  if (argument !== undefined && option !== undefined)
    throw new CommandFailed(2, `the ${name} is given twice: as an argument and by --${name}`)
  const value = argument ?? option
  if (value === undefined)
    throw new CommandFailed(2, `the ${name} is missing: postern revoke LEVEL TARGET, or --level LEVEL --target TARGET`)
  return value
}

/** `postern revoke LEVEL TARGET`, or `postern revoke --level LEVEL --target TARGET`. */
export function revokeCommand(program: Command, io: Io): void {
  const command = program
    .command('revoke')
    .description('refuse what was issued up to now')
    .argument('[level]', `what the target is: ${levels.join(', ')}`)
    .argument('[target]', 'jti of the token, the subject, id of the agent, task, client or key')
    .addOption(new Option('--level <level>', 'what the target is, instead of the first argument').choices(levels))
    .option('--target <target>', 'instead of the second argument')
    .option('--lift', 'end a revocation for API keys and certificates; tokens that it refused stay refused')
  withAdmin(command, io).action(async (first: string | undefined, second: string | undefined, options: RevokeOptions) => {
    // With --level the only argument there can be is the target.
    const alone = options.level !== undefined && second === undefined
    const level = given('level', alone ? undefined : first, options.level)
    if (!levels.includes(level)) throw new CommandFailed(2, `level: expected one of ${levels.join(', ')}, not "${level}"`)
    const target = given('target', alone ? first : second, options.target)
    const path = options.lift ? '/v1/revoke/lift' : '/v1/revoke'
    const answer = await (await openAdmin(options, io)).call('POST', path, { level, target })
    if (options.json) printJson(io, answer)
    else io.out(`${options.lift ? 'lifted' : 'revoked'} ${level} ${target}\n`)
  })
}
