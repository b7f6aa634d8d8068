import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { policySchema } from './schema.ts'

/** The published JSON Schema, in a checkout. */
export const schemaFile = fileURLToPath(new URL('../../docs/reference/policy.schema.json', import.meta.url))

/** What the published JSON Schema is to hold. */
export const schemaText = (): string => `${JSON.stringify(policySchema(), null, 2)}\n`

/** Writes the published JSON Schema, where it is stale. @returns whether it was */
async function writeSchema(): Promise<boolean> {
  const before = await readFile(schemaFile, 'utf8').catch(() => '')
  if (before === schemaText()) return false
  await writeFile(schemaFile, schemaText())
  return true
}

if (import.meta.main) await writeSchema()
