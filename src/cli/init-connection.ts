import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { systemCode } from '../core/system-code.ts'
import { connectionPlaces, connectionText, secretVariable } from './connection.ts'
import { CommandFailed, type Io, printJson } from './io.ts'

export interface ConnectionOptions {
  /** dev: in the home of whoever runs it; prod: for the machine. */
  readonly mode: 'dev' | 'prod'
  readonly configPath?: string
  readonly adminUrl: string
  readonly force?: boolean
  readonly json?: boolean
}

/** `postern init --mode dev|prod`: a connection file with a new admin secret, for its owner alone. */
export function initConnection({ mode, configPath, adminUrl, force, json }: ConnectionOptions, io: Io): void {
  if (!URL.canParse(adminUrl) || !/^https?:$/.test(new URL(adminUrl).protocol))
    throw new CommandFailed(2, `--admin-url ${adminUrl}: expected http://host:port or https://host:port`)
  const place = configPath ?? connectionPlaces(io.env)[mode]
  if (place === undefined) throw new CommandFailed(2, 'there is no home folder: give --config-path')
  const file = resolve(place)
  try {
    // What is there keeps its mode, however it is written over.
    if (force && existsSync(file)) chmodSync(file, 0o600)
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(file, connectionText(adminUrl, randomBytes(32).toString('base64url')), { mode: 0o600, flag: force ? 'w' : 'wx' })
  } catch (cause) {
    const code = systemCode(cause)
    throw new CommandFailed(
      1,
      code === 'EEXIST' ? `${file} is there already: --force writes over it` : `${file}: cannot be written (${code})`,
    )
  }
  if (json) {
    printJson(io, { file, admin_url: adminUrl })
    return
  }
  const elsewhere = configPath === undefined ? '' : `\n  export POSTERN_CONNECTION=${file}`
  io.out(`wrote ${file}

The service reads the same secret, where its policy says  admin: { secret: "\${env:${secretVariable}}" }:
  set -a; . ${file}; set +a
  postern serve --config postern.yaml

From here on the command line finds the service by this file:${elsewhere}
  postern app list
`)
}
