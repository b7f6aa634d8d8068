import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { delimited, message } from './message.ts'
import type { Messages } from './row.ts'

/** Writes the requests of a run into a folder, with times of now. */
export function writeMessages(folder: string): Messages {
  const write = (name: string, content: Buffer): string => {
    const file = join(folder, name)
    writeFileSync(file, content, { mode: 0o600 })
    return file
  }
  return {
    allowed: write('allowed.grpc', message()),
    denied: write('denied.grpc', message({ id: 'sb-nobodys' })),
    withTokens: (name, tokens) => write(`${name}.grpc`, delimited(tokens.map((bearer) => message({ bearer })))),
  }
}
