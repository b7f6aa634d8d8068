import type { Command } from 'commander'
import type { OfflineInput, OfflineLabels, OfflineResult } from '../compose/offline.ts'
import type { Answer } from '../core/answer.ts'
import { headersRemoved, headersSet } from '../core/decision.ts'
import { isJsonObject, type JsonObject } from '../core/json.ts'
import { metadataObject } from '../core/metadata.ts'
import { explainStages } from './explain-stages.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type CommonOptions, loadPolicy, withCommon } from './policy.ts'
import { table } from './table.ts'

interface ExplainOptions extends CommonOptions {
  readonly method: string
  readonly host: string
  readonly path: string
  readonly header: readonly string[]
  readonly token?: string
  readonly jwtPayload: readonly string[]
  readonly workload?: string
  readonly label: readonly string[]
  readonly now?: string
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value]

function readHeader(text: string): readonly [string, string] {
  const colon = text.indexOf(':')
  if (colon < 1) throw new CommandFailed(2, `--header "${text}": expected "name: value"`)
  return [text.slice(0, colon).trim().toLowerCase(), text.slice(colon + 1).trim()]
}

function readPayload(text: string): readonly [string, JsonObject] {
  const equals = text.indexOf('=')
  try {
    const payload: unknown = JSON.parse(text.slice(equals + 1))
    if (equals > 0 && isJsonObject(payload)) return [text.slice(0, equals), payload]
  } catch {
    // Told below.
  }
  throw new CommandFailed(2, '--jwt-payload: expected METADATA_KEY={…}, a JSON object')
}

/** `[source/]resource:id:owner`; the owner may hold colons. */
function readLabel(text: string): OfflineLabels {
  const match = /^(?:([^/:]+)\/)?([a-z][a-z0-9-]*):([^:]+):(.+)$/.exec(text)
  if (!match) throw new CommandFailed(2, `--label "${text}": expected RESOURCE:ID:OWNER, such as sandbox:s1:alice`)
  const [, source, resource = '', id = '', owner = ''] = match
  return { ...(source === undefined ? {} : { source }), resource, id, owner }
}

/** Headers as Envoy is told, without the credential itself. */
const shownHeader = (name: string, value: string): string =>
  name === 'authorization' ? `Bearer <${value.length - 'Bearer '.length} characters>` : value

function showAnswer(answer: Answer): string {
  if (answer.kind === 'deny') {
    return table(undefined, [
      ['status', String(answer.status)],
      ...answer.headers.map(([name, value]) => [name, value]),
      ['body', answer.body || '(none)'],
    ])
  }
  const { mutations } = answer
  const rows = [...headersSet(mutations)].map(([name, value]) => ['set', name, shownHeader(name, value)])
  for (const name of headersRemoved(mutations)) rows.push(['remove', name, ''])
  for (const name of mutations.removeQuery) rows.push(['remove query', name, ''])
  return table(undefined, rows)
}

/** The result as data; the downstream token is left out. */
function asJson(result: OfflineResult, stages: ReturnType<typeof explainStages>): object {
  const { answer } = result
  const metadata = metadataObject(answer.metadata)
  const shown =
    answer.kind === 'deny'
      ? { status: answer.status, headers: Object.fromEntries(answer.headers), body: answer.body }
      : {
          set: Object.fromEntries([...headersSet(answer.mutations)].map(([name, value]) => [name, shownHeader(name, value)])),
          remove: headersRemoved(answer.mutations),
          remove_query: answer.mutations.removeQuery,
        }
  return {
    decision: metadata['decision'],
    reason: answer.reason,
    detail: result.detail,
    stages,
    rejections: result.rejections.map(({ validator, reason, detail }) => ({ validator, reason, detail })),
    ...shown,
    metadata,
  }
}

/** `postern explain`: one request through the stages, offline, with what each saw. */
export function explainCommand(program: Command, io: Io): void {
  const command = program
    .command('explain')
    .description('decide one request offline and tell what each stage saw')
    .option('--method <method>', 'HTTP method', 'GET')
    .option('--host <host>', 'Host', 'localhost')
    .requiredOption('--path <path>', 'path, with the query')
    .option('--header <"name: value">', 'a header; may be given several times', collect, [])
    .option('--token <jwt>', 'bearer token, or - for standard input; its signature is taken to be good')
    .option('--jwt-payload <key=json>', "payload that Envoy's jwt_authn verified, by metadata key", collect, [])
    .option('--workload <spiffe id>', 'SPIFFE ID of the client certificate')
    .option('--label <resource:id:owner>', 'who owns a resource; may be given several times', collect, [])
    .option('--now <time>', 'RFC 3339, instead of now')
  withCommon(command, io).action(async (options: ExplainOptions) => {
    const loaded = await loadPolicy(options, io)
    const now = options.now === undefined ? Date.now() : Date.parse(options.now)
    if (Number.isNaN(now)) throw new CommandFailed(2, '--now: expected a time such as 2026-01-31T12:00:00Z')
    const token = options.token === '-' ? (await io.stdin()).trim() : options.token
    const payloads = options.jwtPayload.map(readPayload)
    const input: OfflineInput = {
      method: options.method,
      host: options.host,
      path: options.path,
      headers: options.header.map(readHeader),
      token,
      verified: payloads.length > 0 ? Object.fromEntries(payloads) : undefined,
      workload: options.workload,
      labels: options.label.map(readLabel),
      revoked: [],
      down: [],
      now,
    }
    // Loaded where it is used: a service that runs never does.
    const { decideOffline } = await import('../compose/offline.ts')
    const result = await decideOffline(loaded, input)
    const stages = explainStages(result)
    if (options.json) printJson(io, asJson(result, stages))
    else {
      io.out(
        table(
          ['STAGE', 'OUTCOME', 'SAW'],
          stages.map(({ stage, outcome, saw }) => [
            stage,
            outcome,
            Object.entries(saw)
              .map(([k, v]) => `${k}=${v}`)
              .join('  '),
          ]),
        ),
      )
      for (const { validator, reason, detail } of result.rejections)
        if (validator !== '') io.out(`\nvalidator ${validator} rejected: ${reason} (${detail})\n`)
      const metadata = metadataObject(result.answer.metadata)
      const enforced = metadata['enforced'] === false ? ' (not enforced: let through without identity)' : ''
      io.out(`\n${String(metadata['decision'])}: ${result.answer.reason}${enforced}${result.detail ? ` (${result.detail})` : ''}\n\n`)
      io.out(showAnswer(result.answer))
      if (token !== undefined) io.err('signatures are not checked offline: the token was taken as signed by its issuer\n')
    }
    if (result.answer.kind === 'deny') throw new CommandFailed(1)
  })
}
