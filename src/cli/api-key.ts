import { createHash } from 'node:crypto'
import type { Command } from 'commander'
import { isApiKey, isWholeApiKey } from '../core/api-key.ts'
import { isJsonObject, type JsonObject } from '../core/json.ts'
import { type AdminClient, type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { joined, minute, text } from './cells.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { table } from './table.ts'
import { seconds } from './token.ts'

interface CreateOptions extends AdminOptions {
  readonly owner: string
  readonly name?: string
  readonly role: readonly string[]
  readonly scope: readonly string[]
  readonly validator?: string
  readonly expires?: string
}

interface ListOptions extends AdminOptions {
  readonly owner?: string
  readonly validator?: string
  readonly all?: true
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, ...value.split(',')]

/** `90d` or `2027-01-31T12:00:00Z`. */
const endOf = (expires: string): JsonObject => (/^\d{4}-/.test(expires) ? { expires_at: expires } : { expires_in: seconds(expires) })

/** All pages. */
async function keysOf(admin: AdminClient, query: Readonly<Record<string, string>>): Promise<JsonObject[]> {
  const found: JsonObject[] = []
  for (let after: string | undefined; ; ) {
    const asked = new URLSearchParams({ ...query, limit: '1000', ...(after === undefined ? {} : { after }) })
    const { api_keys: keys, next } = await admin.call('GET', `/v1/api-keys?${asked}`)
    found.push(...(Array.isArray(keys) ? keys.filter(isJsonObject) : []))
    if (typeof next !== 'string') return found
    after = next
  }
}

/** The id of a key that was found somewhere: of the key only its hash leaves this machine. */
async function idOf(admin: AdminClient, key: string): Promise<string> {
  if (!isWholeApiKey(key)) throw new CommandFailed(2, 'this begins as an API key, but its length or its checksum is not right')
  const [found] = await keysOf(admin, { digest: createHash('sha256').update(key).digest('hex') })
  if (!found) throw new CommandFailed(1, 'there is no such API key: it was never made here, or ended more than 90 days ago')
  return String(found['id'])
}

function show(io: Io, keys: readonly JsonObject[]): void {
  const rows = keys.map((key) => [
    text(key['id']),
    text(key['name']),
    text(key['subject']),
    joined(key['roles']),
    joined(key['scopes']),
    text(key['status']),
    minute(key['created_at']),
    minute(key['expires_at']),
    minute(key['last_used_at']),
  ])
  io.out(table(['ID', 'NAME', 'SUBJECT', 'ROLES', 'SCOPES', 'STATUS', 'CREATED', 'EXPIRES', 'LAST USED'], rows))
}

/** `postern api-key create|list|revoke`. */
export function apiKeyCommand(program: Command, io: Io): void {
  const apiKey = program.command('api-key').description('make, list and revoke API keys')
  const create = apiKey
    .command('create')
    .description('make a key; prints it alone, this once')
    .requiredOption('--owner <subject>', 'whose key it is, without the subject_namespace of the validator')
    .option('--name <text>', 'what people call it')
    .option('--role <role>', 'a role; may be given several times; else the default_role of the validator', collect, [])
    .option('--scope <scope>', 'a scope; may be given several times', collect, [])
    .option('--expires <span or time>', 'such as 90d, 12h or 2027-01-31T12:00:00Z; never where absent')
    .option('--validator <name>', 'the validator that is to admit it, where there are several of type api-keys')
  withAdmin(create, io).action(async (options: CreateOptions) => {
    const { owner, name, role, scope, validator, expires } = options
    const body = {
      owner,
      roles: role,
      scopes: scope,
      ...(name === undefined ? {} : { name }),
      ...(validator === undefined ? {} : { validator }),
      ...(expires === undefined ? {} : endOf(expires)),
    }
    const made = await (await openAdmin(options, io)).call('POST', '/v1/api-keys', body)
    if (options.json) printJson(io, made)
    else {
      io.out(`${String(made['key'])}\n`)
      io.err(`the key ${text(made['id'])} of ${text(made['subject'])}: keep it now, it cannot be shown again\n`)
    }
  })

  const list = apiKey
    .command('list')
    .description('the keys in force, without the keys themselves')
    .option('--owner <subject>', 'only those of one owner')
    .option('--validator <name>', 'only those of one validator')
    .option('--all', 'those that expired or were revoked in the last 90 days, too')
  withAdmin(list, io).action(async (options: ListOptions) => {
    const { owner, validator, all } = options
    const keys = await keysOf(await openAdmin(options, io), {
      ...(owner === undefined ? {} : { owner }),
      ...(validator === undefined ? {} : { validator }),
      ...(all ? {} : { status: 'active' }),
    })
    if (options.json) printJson(io, { api_keys: keys })
    else show(io, keys)
  })

  const revoke = apiKey
    .command('revoke')
    .description('revoke a key: refused on every replica within 1 s')
    .argument('<key>', 'its id; or the key itself, by its hash; or - to read either from standard input')
  withAdmin(revoke, io).action(async (given: string, options: AdminOptions) => {
    const named = (given === '-' ? await io.stdin() : given).trim()
    const admin = await openAdmin(options, io)
    const id = isApiKey(named) ? await idOf(admin, named) : named
    await admin.call('DELETE', `/v1/api-keys/${encodeURIComponent(id)}`)
    if (options.json) printJson(io, { revoked: true, id })
    else io.out(`revoked ${id}\n`)
  })
}
