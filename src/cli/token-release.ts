import type { Command } from 'commander'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type IssuerOptions, openIssuerClient, withIssuer } from './issuer-client.ts'

interface ReleaseOptions extends IssuerOptions {
  readonly token: string
}

/** `postern token release`. */
export function releaseCommand(token: Command, io: Io): void {
  const release = token
    .command('release')
    .description("say that an agent's task is done: its token is revoked, and the agent renews nothing any more")
    .requiredOption('--token <token>', "the agent's token, or - for standard input")
  withIssuer(release, io).action(async (options: ReleaseOptions) => {
    const given = (options.token === '-' ? await io.stdin() : options.token).trim()
    if (!/^[!-~]+$/.test(given)) throw new CommandFailed(2, '--token: expected a token')
    const issuer = await openIssuerClient(options, io)
    const { status, json } = await issuer.ask('POST', `${issuer.url}/v1/token/release`, { authorization: `Bearer ${given}` })
    if (status !== 204)
      throw new CommandFailed(1, `POST /v1/token/release: ${status}${json['detail'] ? `: ${String(json['detail'])}` : ''}`)
    if (options.json) printJson(io, { released: true })
    else io.out('released\n')
  })
}
