import type { Command } from 'commander'
import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'
import { type AdminClient, type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { joined, minute, text } from './cells.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { table } from './table.ts'
import { seconds } from './token.ts'

interface AppOptions extends AdminOptions {
  readonly id?: string
  readonly name?: string
  readonly scopes?: readonly string[]
  readonly tokenTtl?: string
}

const path = '/v1/admin/apps'
const collect = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  ...value.split(',').filter((one) => one !== ''),
]
const life = (value: Json | undefined): string => (typeof value === 'number' ? `${value}s` : '-')

/** What is to be, as the body of a call has it; what was not given is left out. */
const bodyOf = ({ name, scopes, tokenTtl }: AppOptions): JsonObject => ({
  ...(name !== undefined && { name }),
  ...(scopes !== undefined && { scopes: [...scopes] }),
  ...(tokenTtl !== undefined && { token_ttl: seconds(tokenTtl) }),
})

const pathOf = (argument: string | undefined, { id = argument }: AppOptions, usage: string): string => {
  if (id === undefined) throw new CommandFailed(2, `the app is missing: postern app ${usage}`)
  return `${path}/${encodeURIComponent(id)}`
}

/** All pages. */
async function appsOf(admin: AdminClient): Promise<JsonObject[]> {
  const found = new Map<string, JsonObject>()
  for (let after: string | undefined; ; ) {
    const asked = new URLSearchParams({ limit: '1000', ...(after === undefined ? {} : { after }) })
    const { apps, next } = await admin.call('GET', `${path}?${asked}`)
    // One that is changed meanwhile may come twice.
    for (const app of Array.isArray(apps) ? apps.filter(isJsonObject) : []) found.set(String(app['app_id']), app)
    if (typeof next !== 'string') return [...found.values()]
    after = next
  }
}

function show(io: Io, apps: readonly JsonObject[]): void {
  const rows = apps.map((app) => [
    text(app['app_id']),
    text(app['name']),
    joined(app['scopes']),
    life(app['token_ttl']),
    minute(app['created_at']),
  ])
  io.out(table(['ID', 'NAME', 'SCOPES', 'TOKEN TTL', 'CREATED'], rows))
}

/** `postern app register|list|get|update|remove`. */
export function appCommand(program: Command, io: Io): void {
  const app = program.command('app').description('apps of the agent broker: programs that may let agents in, within a ceiling of scopes')
  const add = (name: string, about: string): Command => withAdmin(app.command(name).description(about), io)
  const print = (options: AppOptions, answer: JsonObject): void => {
    if (options.json) printJson(io, answer)
    else show(io, [answer])
  }

  add('register', 'make an app; its secret is printed this once')
    .option('--name <name>', 'what people call it', 'app')
    .option('--scopes <scopes>', 'its ceiling, such as read:data:*,write:data:*; may be given several times', collect)
    .option('--token-ttl <span>', 'life of its own tokens, at most 24h; else broker.app_token_ttl')
    .action(async (options: AppOptions) => {
      const body = { scopes: [], ...bodyOf(options) }
      const made = await (await openAdmin(options, io)).call('POST', path, body)
      if (options.json) printJson(io, made)
      else {
        io.out(`client_id      ${text(made['client_id'])}\nclient_secret  ${text(made['client_secret'])}\n`)
        io.err('keep the secret now, it cannot be shown again\n')
      }
    })

  add('list', 'all apps').action(async (options: AppOptions) => {
    const apps = await appsOf(await openAdmin(options, io))
    if (options.json) printJson(io, { apps })
    else show(io, apps)
  })

  add('get', 'one app')
    .argument('[id]', 'its id')
    .option('--id <id>', 'its id, instead of the argument')
    .action(async (id: string | undefined, options: AppOptions) => {
      const at = pathOf(id, options, 'get ID')
      print(options, await (await openAdmin(options, io)).call('GET', at))
    })

  add('update', 'change an app; what is not given stays')
    .argument('[id]', 'its id')
    .option('--id <id>', 'its id, instead of the argument')
    .option('--name <name>', 'what people call it')
    .option('--scopes <scopes>', 'its whole ceiling from now on', collect)
    .option('--token-ttl <span>', 'life of its own tokens, at most 24h')
    .action(async (id: string | undefined, options: AppOptions) => {
      const at = pathOf(id, options, 'update --id ID')
      const body = bodyOf(options)
      if (Object.keys(body).length === 0) throw new CommandFailed(2, 'nothing is to change: give --name, --scopes or --token-ttl')
      print(options, await (await openAdmin(options, io)).call('PUT', at, body))
    })

  add('remove', 'remove an app: its launch tokens let nobody in any more, and its agents renew nothing')
    .argument('[id]', 'its id')
    .option('--id <id>', 'its id, instead of the argument')
    .action(async (id: string | undefined, options: AppOptions) => {
      const at = pathOf(id, options, 'remove --id ID')
      await (await openAdmin(options, io)).call('DELETE', at)
      const removed = options.id ?? id!
      if (options.json) printJson(io, { removed: true, id: removed })
      else io.out(`removed ${removed}\n`)
    })
}
