import type { Command } from 'commander'
import { connectGcp } from './connect-gcp.ts'
import type { Io } from './io.ts'

/** `postern connect …`: sets up other systems' clients for tokens of this issuer. */
export function connectCommand(program: Command, io: Io): void {
  const connect = program.command('connect').description('set up clients of other systems for tokens of this issuer')
  connectGcp(connect, io)
}
