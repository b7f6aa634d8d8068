import type { Command } from 'commander'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { type Io, printJson } from './io.ts'
import { seconds } from './token.ts'

interface CreateOptions extends AdminOptions {
  readonly agentName: string
  readonly scope: readonly string[]
  readonly maxTtl?: string
  readonly ttl?: string
  readonly reusable?: true
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, ...value.split(',')]

/** `postern launch-token create`. */
export function launchTokenCommand(program: Command, io: Io): void {
  const launchToken = program.command('launch-token').description('what lets an agent in')
  const create = launchToken
    .command('create')
    .description('make a launch token; prints it alone, this once')
    .requiredOption('--agent-name <name>', 'what the agent is called, in the audit trail')
    .requiredOption('--scope <scope>', 'what the agent may ask for, such as read:data:*; may be given several times', collect)
    .option('--max-ttl <span>', "longest life of the agent's tokens (default 300s)")
    .option('--ttl <span>', 'life of the launch token itself (default 30s)')
    .option('--reusable', 'good for any number of agents until it ends, and not for one alone')
  withAdmin(create, io).action(async (options: CreateOptions) => {
    const { agentName, scope, maxTtl, ttl, reusable } = options
    const body = {
      agent_name: agentName,
      allowed_scope: scope,
      ...(maxTtl === undefined ? {} : { max_ttl: seconds(maxTtl) }),
      ...(ttl === undefined ? {} : { ttl: seconds(ttl) }),
      single_use: reusable !== true,
    }
    const made = await (await openAdmin(options, io)).call('POST', '/v1/admin/launch-tokens', body)
    if (options.json) printJson(io, made)
    else {
      io.out(`${String(made['launch_token'])}\n`)
      io.err(`good until ${String(made['expires_at'])}, for ${reusable ? 'any number of agents' : 'one agent'}: it cannot be shown again\n`)
    }
  })
}
