/** OPA-Envoy with the same policy in Rego (bench/peers/opa), with and without its decision log. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Peer, Running, StartOptions } from '../peer.ts'
import { buildPublished } from './build.ts'
import { holders, type Job, type JobRoute, readJob } from './job.ts'
import { newTarget, startListening } from './listening.ts'

const version = 'v1.4.2-envoy'
const policy = fileURLToPath(new URL('opa/policy.rego', import.meta.url))

async function build(): Promise<string> {
  const module = 'github.com/open-policy-agent/opa-envoy-plugin'
  const folder = await buildPublished({ module, version, command: './cmd/opa-envoy-plugin', name: 'opa-envoy-plugin', seconds: 139 })
  return join(folder, 'opa-envoy-plugin')
}

/** @param console every decision as JSON on stdout, which is a file here */
async function start(options: StartOptions, console: boolean): Promise<Running> {
  const program = await build()
  const { folder, routes, owners } = options
  const target = await newTarget(options)
  const job = readJob(routes, owners)
  const ordered = job.routes.toSorted(compare)
  const data = join(folder, 'data.json')
  writeFileSync(data, JSON.stringify({ postern: { job: policyData(job, ordered) } }))
  const rules = join(folder, 'job.rego')
  writeFileSync(rules, jobRules(job, ordered))
  const config = join(folder, 'config.json')
  writeFileSync(config, JSON.stringify(configuration(target, console)))
  const quiet = ['--disable-telemetry', '--log-level', 'error', '--optimize-store-for-read-speed']
  const api = ['--addr', `unix://${join(folder, 'api.sock')}`]
  const command = [program, 'run', '--server', ...quiet, ...api, '--config-file', config, policy, rules, data] as const
  return await startListening('OPA-Envoy', target, command, options)
}

function configuration(target: string, console: boolean): object {
  const addr = target.startsWith('unix:') ? target.replace('unix:', 'unix://') : target
  return {
    plugins: { envoy_ext_authz_grpc: { addr, path: 'postern/authz/result', 'skip-request-body-parse': true } },
    ...(console ? { decision_logs: { console: true } } : {}),
  }
}

function policyData(job: Job, routes: readonly JobRoute[]): object {
  return { owners: job.owners, routes: routes.map((route) => demands(job, route)) }
}

const segmentsOf = ({ path }: JobRoute): readonly string[] => path.slice(1).split('/')
const isStatic = (segment: string): boolean => !segment.startsWith('{') && segment !== '**'

/** What a route demands, as the policy looks it up. `owner` is the position of the segment with the resource's id; -1: none. */
function demands(job: Job, route: JobRoute): object {
  const { id, methods, roles, owner } = route
  return {
    id,
    methods: Object.fromEntries(methods.map((method) => [method, true])),
    granting: Object.fromEntries(holders(job, roles).map((role) => [role, true])),
    owner: owner === '' ? -1 : segmentsOf(route).indexOf(`{${owner}}`),
  }
}

/** The job's names, and one rule for each route; conditions on `input.parsed_path` are what OPA's index of rules works with. */
function jobRules({ issuer, audience, metadata_key }: Job, routes: readonly JobRoute[]): string {
  const names = Object.entries({ issuer, audience, metadata_key }).map(([name, value]) => `${name} := ${JSON.stringify(value)}\n`)
  const rule = (route: JobRoute, number: number): string => {
    const segments = segmentsOf(route)
    const host = route.host === '' ? [] : [`hostname == ${JSON.stringify(route.host)}`]
    return `candidate contains ${number} if {\n\t${[...pathConditions(segments), ...host].join('\n\t')}\n}\n`
  }
  return ['package postern.authz\n', ...names, ...routes.map(rule)].join('\n')
}

function pathConditions(segments: readonly string[]): string[] {
  if (segments.at(-1) !== '**')
    return [`input.parsed_path = [${segments.map((segment) => (isStatic(segment) ? JSON.stringify(segment) : '_')).join(', ')}]`]
  const named = segments.flatMap((segment, at) => (isStatic(segment) ? [`input.parsed_path[${at}] == ${JSON.stringify(segment)}`] : []))
  return [...named, `count(input.parsed_path) >= ${segments.length - 1}`]
}

/** From left to right a static segment goes before a parameter, and that before the rest; a host before none. */
function compare(a: JobRoute, b: JobRoute): number {
  const rank = (route: JobRoute) =>
    `${route.host === '' ? 1 : 0}${segmentsOf(route)
      .map((segment) => (isStatic(segment) ? 0 : segment === '**' ? 2 : 1))
      .join('')}`
  return rank(a) < rank(b) ? -1 : Number(rank(a) > rank(b))
}

const peer = (name: string, console: boolean): Peer => ({
  name,
  version,
  prepare: async () => {
    await build()
  },
  start: (options) => start(options, console),
})

export const opa = peer('OPA-Envoy, decision log off', false)
export const opaConsole = peer('OPA-Envoy, decision log on console', true)
