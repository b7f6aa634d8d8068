import { Argument, type Command } from 'commander'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { type Io, printJson } from './io.ts'

/** `postern revoke LEVEL TARGET`. */
export function revokeCommand(program: Command, io: Io): void {
  const command = program
    .command('revoke')
    .description('refuse what was issued up to now')
    .addArgument(new Argument('<level>', 'what the target is').choices(['token', 'agent', 'task', 'chain', 'subject', 'client', 'key']))
    .argument('<target>', 'jti of the token, the subject, or the id of the key')
  withAdmin(command, io).action(async (level: string, target: string, options: AdminOptions) => {
    const answer = await (await openAdmin(options, io)).call('POST', '/v1/revoke', { level, target })
    if (options.json) printJson(io, answer)
    else io.out(`revoked ${level} ${target}\n`)
  })
}
