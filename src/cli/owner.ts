import type { Command } from 'commander'
import { isJsonObject, type JsonObject } from '../core/json.ts'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { table } from './table.ts'

/** `sandbox s1`, or `sandbox:s1` in one. */
function place(words: readonly string[], more: number): { path: string; shown: string; rest: readonly string[] } {
  const joined = words.length === 1 + more ? /^([a-z][a-z0-9-]*)[:/](.+)$/.exec(words[0] ?? '') : undefined
  const [resource = '', id = ''] = joined ? [joined[1], joined[2]] : words
  if (!joined && words.length !== 2 + more)
    throw new CommandFailed(2, `expected RESOURCE ID${more > 0 ? ' SUBJECT' : ''}, such as sandbox s1${more > 0 ? ' alice' : ''}`)
  return {
    path: `/v1/resources/${encodeURIComponent(resource)}/${encodeURIComponent(id)}/labels`,
    shown: `${resource}:${id}`,
    rest: words.slice(joined ? 1 : 2),
  }
}

function print(io: Io, options: AdminOptions, found: JsonObject): void {
  if (options.json) {
    printJson(io, found)
    return
  }
  const labels = isJsonObject(found['labels']) ? Object.entries(found['labels']) : []
  io.out(
    table(undefined, [
      ['resource', `${String(found['resource'])}:${String(found['id'])}`],
      ['owner', String(found['owner'] ?? '(none)')],
      ...labels.map(([name, value]) => [name, String(value)]),
    ]),
  )
}

/** `postern owner get|set|rm`: owners of resources, by the admin listener. */
export function ownerCommand(program: Command, io: Io): void {
  const owner = program.command('owner').description('see and change owners of resources')
  withAdmin(owner.command('get').description('the labels of a resource').argument('<resource>').argument('[id]'), io).action(
    async (resource: string, id: string | undefined, options: AdminOptions) => {
      const { path } = place(id === undefined ? [resource] : [resource, id], 0)
      print(io, options, await (await openAdmin(options, io)).call('GET', path))
    },
  )
  withAdmin(
    owner
      .command('set')
      .description('make a subject the owner of a resource')
      .argument('<resource>')
      .argument('<id>')
      .argument('[subject]'),
    io,
  ).action(async (resource: string, id: string, subject: string | undefined, options: AdminOptions) => {
    const { path, rest } = place(subject === undefined ? [resource, id] : [resource, id, subject], 1)
    print(io, options, await (await openAdmin(options, io)).call('PUT', path, { owner: rest[0] }))
  })
  withAdmin(owner.command('rm').description('forget the labels of a resource').argument('<resource>').argument('[id]'), io).action(
    async (resource: string, id: string | undefined, options: AdminOptions) => {
      const { path, shown } = place(id === undefined ? [resource] : [resource, id], 0)
      await (await openAdmin(options, io)).call('DELETE', path)
      if (options.json) printJson(io, { removed: shown })
      else io.out(`removed ${shown}\n`)
    },
  )
}
