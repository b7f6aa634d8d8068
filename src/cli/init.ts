import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { systemCode } from '../core/system-code.ts'
import { type ConnectionOptions, initConnection } from './init-connection.ts'
import { firstEnvoy, firstPolicy } from './init-files.ts'
import { CommandFailed, type Io, printJson } from './io.ts'

interface InitOptions extends Omit<ConnectionOptions, 'mode'> {
  readonly dir: string
  readonly mode?: ConnectionOptions['mode']
}

/** In the folder, unless its path is too long for a unix socket (sockaddr_un holds 108 bytes) or could break the YAML around it. */
function socketIn(folder: string): string {
  const path = join(folder, 'check.sock')
  if (Buffer.byteLength(path) <= 100 && /^[A-Za-z0-9/._-]+$/.test(path)) return path
  return join(tmpdir(), `postern-${createHash('sha256').update(folder).digest('hex').slice(0, 12)}.sock`)
}

/** `postern init`: a policy, an Envoy configuration and an admin secret for a first run; with `--mode`, a connection file. */
export function initCommand(program: Command, io: Io): void {
  program
    .command('init')
    .description('write a commented policy and an Envoy configuration for a first run')
    .option('--dir <folder>', 'where to', '.')
    .addOption(
      new Option(
        '--mode <mode>',
        'write a connection file with a new admin secret instead: ~/.postern/config (dev), /etc/postern/config (prod)',
      ).choices(['dev', 'prod']),
    )
    .option('--config-path <file>', 'where the connection file goes')
    .option('--admin-url <url>', 'of the admin listener, or of an issuer listener with the broker', 'http://127.0.0.1:9192')
    .option('--force', 'write over files that are there')
    .option('--json', 'print JSON')
    .action((options: InitOptions) => {
      if (options.mode !== undefined) return initConnection({ ...options, mode: options.mode }, io)
      if (options.configPath !== undefined) throw new CommandFailed(2, '--config-path goes with --mode dev or --mode prod')
      const folder = resolve(options.dir)
      const socket = socketIn(folder)
      const files: readonly (readonly [name: string, text: string, mode: number])[] = [
        ['postern.yaml', firstPolicy(socket), 0o644],
        ['envoy.yaml', firstEnvoy(socket), 0o644],
        ['admin.secret', `${randomBytes(32).toString('base64url')}\n`, 0o600],
      ]
      const there = files.map(([name]) => join(options.dir, name)).filter((file) => existsSync(file))
      if (there.length > 0 && !options.force) throw new CommandFailed(1, `${there.join(', ')}: there already; --force writes over it`)
      try {
        mkdirSync(folder, { recursive: true })
        for (const [name, text, mode] of files) {
          // A secret that is in use already stays.
          if (mode !== 0o600 || !existsSync(join(folder, name))) writeFileSync(join(folder, name), text, { mode })
        }
      } catch (cause) {
        throw new CommandFailed(1, `${folder}: cannot be written (${systemCode(cause)})`)
      }
      const written = files.map(([name]) => join(options.dir, name))
      if (options.json) return printJson(io, { files: written, socket })
      const config = join(options.dir, 'postern.yaml')
      io.out(`wrote ${written.join(', ')}

Next:
  postern lint --config ${config}
  postern serve --config ${config}
  envoy -c ${join(options.dir, 'envoy.yaml')} --file-flush-interval-msec 1000
  postern owner set sandbox s1 alice --config ${config}
  curl -i http://127.0.0.1:10000/v1/sandboxes/s1/hello -H "authorization: Bearer $(postern token mint --subject alice --role sandbox:invoke --config ${config})"
`)
    })
}
