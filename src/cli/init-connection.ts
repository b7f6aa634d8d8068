import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { connectionPlaces, connectionText, secretVariable } from './connection.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { writePrivate } from './private-file.ts'

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
  writePrivate(file, connectionText(adminUrl, randomBytes(32).toString('base64url')), force ?? false, true)
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
