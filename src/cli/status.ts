import type { Command } from 'commander'
import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { table } from './table.ts'

const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isJsonObject) : [])
const texts = (value: Json | undefined): string[] => (Array.isArray(value) ? value.map(String) : [])
const text = (value: Json | undefined): string => (value === undefined || value === null ? '-' : String(value))

const workerText = (worker: JsonObject): string =>
  [
    `pid ${text(worker['pid'])} since ${text(worker['since'])}`,
    ...(worker['serving'] === true ? [] : ['NOT SERVING']),
    `policy ${text(worker['revision'])}`,
    `connections ${text(worker['connections'])}`,
  ].join(', ')

function show(io: Io, status: JsonObject): void {
  const { state, feed, breakers, api_keys: apiKeys } = status
  const at = isJsonObject(state) ? state : {}
  const rows = [
    ['ready', status['ready'] === true ? 'yes' : 'NO'],
    ['version', text(status['version'])],
    ['realm', text(status['realm'])],
    ['policy', `${text(status['revision'])} since ${text(status['since'])}`],
    ['uptime', `${text(status['uptime_seconds'])} s`],
    ['state', `${text(at['kind'])}, ${at['up'] === true ? 'up' : `DOWN: ${text(at['fault'])}`}`],
    ...(at['durability'] === undefined ? [] : [['', text(at['durability'])]]),
    ...(isJsonObject(feed)
      ? [
          [
            'feed',
            feed['age_ms'] === null
              ? 'nobody else can change this state'
              : `heard ${text(feed['age_ms'])} ms ago${feed['trusted'] === true ? '' : ', NOT TRUSTED'}`,
          ],
        ]
      : []),
    ...(isJsonObject(apiKeys)
      ? [['api keys', `${text(apiKeys['known'])} known${apiKeys['trusted'] === true ? '' : ', NOT TRUSTED'}`]]
      : []),
    ...objects(status['workers']).map((worker) => [`worker ${text(worker['worker'])}`, workerText(worker)]),
    ...Object.entries(isJsonObject(breakers) ? breakers : {}).map(([name, breaker]) => [`sts ${name}`, `breaker ${text(breaker)}`]),
    ...objects(status['keys']).map((key) => [`key ${text(key['kid'])}`, `${text(key['algorithm'])}, ${text(key['state'])}`]),
  ]
  io.out(table(undefined, rows))
  const conditions = objects(status['conditions'])
  if (conditions.length > 0) {
    const lines = conditions.map((c) => [
      text(c['type']),
      text(c['subject']),
      text(c['status']),
      text(c['lastTransitionTime']),
      text(c['reason']),
      text(c['message']),
    ])
    io.out(`\n${table(['CONDITION', 'OF', 'STATUS', 'SINCE', 'REASON', 'MESSAGE'], lines)}`)
  }
  for (const id of texts(status['unenforced'])) io.out(`\nNOT ENFORCED: denials of the route ${id} are let through\n`)
  for (const warning of texts(status['warnings'])) io.out(`warning: ${warning}\n`)
  const fault = status['reload_fault']
  if (isJsonObject(fault)) {
    io.out(`\nthe policy file was refused at ${text(fault['time'])}; the last good one is in force:\n`)
    for (const sentence of texts(fault['sentences'])) io.out(`  ${sentence}\n`)
  }
}

/** `postern status`: that of a running service; ends with 1 where it is not ready. */
export function statusCommand(program: Command, io: Io): void {
  withAdmin(program.command('status').description('the status of a running service'), io).action(async (options: AdminOptions) => {
    const status = await (await openAdmin(options, io)).call('GET', '/status')
    if (options.json) printJson(io, status)
    else show(io, status)
    if (status['ready'] !== true) throw new CommandFailed(1)
  })
}
