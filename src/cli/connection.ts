import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { privateFileFault } from '../config/private-file.ts'
import { systemCode } from '../core/system-code.ts'
import { CommandFailed, type Io } from './io.ts'

/** Where a running service is, and the secret for it. */
export interface Connection {
  readonly url: string
  readonly secret: string | undefined
  /** Where it was read: for messages. */
  readonly from: string
}

export const urlVariable = 'POSTERN_ADMIN_URL'
export const secretVariable = 'POSTERN_ADMIN_SECRET'
/** Names the connection file, instead of the usual places. */
const fileVariable = 'POSTERN_CONNECTION'

/** Where a connection file is looked for, and written by `postern init --mode dev` and `--mode prod`. */
export const connectionPlaces = (env: Io['env']): { readonly dev: string | undefined; readonly prod: string } => ({
  dev: env['HOME'] === undefined || env['HOME'] === '' ? undefined : join(env['HOME'], '.postern', 'config'),
  prod: '/etc/postern/config',
})

/** The text of a connection file: variables, which a shell and a service manager read as well. */
export const connectionText = (url: string, secret: string): string =>
  `# Connection of the postern command line to a running service; the service reads its admin.secret from the same variable.
${urlVariable}=${url}
${secretVariable}=${secret}
`

/**
 * The connection file: that of POSTERN_CONNECTION, else ~/.postern/config, else /etc/postern/config.
 * @returns undefined where there is none
 * @throws {CommandFailed} where one is named or there that cannot be used
 */
export function readConnection(env: Io['env']): Connection | undefined {
  const named = env[fileVariable]
  const { dev, prod } = connectionPlaces(env)
  for (const file of named === undefined ? [dev, prod] : [named]) {
    if (file === undefined) continue
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (cause) {
      const code = systemCode(cause)
      if (named === undefined && (code === 'ENOENT' || code === 'ENOTDIR')) continue
      throw new CommandFailed(2, `${file}: the connection file cannot be read (${code})`)
    }
    const open = privateFileFault(file)
    if (open?.severity === 'refuse') throw new CommandFailed(2, open.message)
    const values = parseEnv(text)
    const url = values[urlVariable]
    if (url === undefined || url === '') throw new CommandFailed(2, `${file}: expected a line ${urlVariable}=http://host:port`)
    return { url, secret: values[secretVariable], from: file }
  }
  return undefined
}
