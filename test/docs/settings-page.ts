import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { policySchema } from '../../src/config/schema.ts'

/** As much of JSON Schema as the policy's has. */
interface Node {
  readonly type?: string
  readonly pattern?: string
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly default?: unknown
  readonly description?: string
  readonly properties?: Readonly<Record<string, Node>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Node | boolean
  readonly items?: Node
  readonly anyOf?: readonly Node[]
  readonly oneOf?: readonly Node[]
}

const page = fileURLToPath(new URL('../../docs/reference/settings.md', import.meta.url))
const [begin, end] = ['<!-- generated from the schema -->', '<!-- end of what is generated -->']

/** What the schema itself does not say. */
const more: Readonly<Record<string, string>> = {
  'include[].path': 'a file or glob',
  'listen.ext_proc': "Envoy's ext_proc, for ownership capture",
  'listen.admin.address': '`unix:/path`, `host:port` or `[v6]:port`',
  'listen.issuer.address': '`unix:/path`, `host:port` or `[v6]:port`',
  'state.redis.tls.ca': 'PEM file with the authorities that the certificate of Redis is verified against',
  'state.redis.tls.cert': 'PEM file with a client certificate, for a Redis that asks for one',
  'state.redis.tls.key': 'PEM file with its private key',
  'state.redis.username': 'ACL user; goes before the one in `url`',
  'state.redis.password': 'secret; goes before the one in `url`',
  'denials.resource_metadata': 'URL for `resource_metadata` in `WWW-Authenticate` (RFC 9728)',
  'headers.prefix': 'what the names of all headers that Postern sets begin with',
  'state.redis': 'the same as parts, with a CA and a password of their own',
  'identity[].roles.*': 'roles of this workload',
  'routes[].path': 'template, such as `/v1/sandboxes/{id}/**`',
  'routes[].roles.all': 'every one of these',
  'routes[].scopes.all': 'every one of these',
  'ownership.cache.max_stale': 'while changes are not heard of, copies serve this long; at most `revocation.max_staleness`',
  cors: '',
  'identity[].jwks.timeout': 'of one call: discovery and the key set are a call each',
  'ownership.label': 'name of the owner label',
  'ownership.cache.size': 'resources kept of each source',
  'ownership.cache.ttl': 'how long labels are kept near',
  'ownership.cache.negative_ttl': 'how long it is remembered that a resource is unknown',
  'sts.*.client_id': "Postern's client id at the endpoint",
  'sts.*.auth': 'how Postern proves itself: exactly one of the following',
  'sts.*.auth.private_key_jwt.kid': '`kid` in the header of the assertion',
  'sts.*.auth.private_key_jwt.algorithm': 'absent: by the kind of key (RS256, ES256 or EdDSA)',
  'sts.*.auth.mtls.cert': 'PEM file',
  'sts.*.auth.mtls.key': 'PEM file',
  'sts.*.timeout': 'of one call; a call that did not get through is made once more',
  'issuer.algorithm': 'of the keys that are made',
  'issuer.keys.rotate_every': 'how long one key signs',
  'routes[].owner.freshness': 'whether a near copy may answer',
  'cors.preflight': '`allow`: a true preflight on a known path passes without a credential',
  'audit.decisions': 'which decisions are audit events, for routes that do not say so themselves',
  'log.level': 'decisions are chosen by `log.decisions` alone',
  'log.decisions': 'which decisions become log lines',
}

const code = (value: unknown): string => `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``

function typeOf(node: Node): string {
  if (node.enum) return node.enum.map(code).join(' ')
  if (node.const !== undefined) return code(node.const)
  if (node.items)
    return `list of ${node.items.anyOf || node.items.oneOf ? 'text or object' : node.items.type === 'string' ? 'texts' : `${node.items.type ?? 'object'}s`}`
  const alternatives = node.anyOf ?? node.oneOf
  if (alternatives) return alternatives.map(typeOf).join(', or ')
  if (node.pattern?.includes('ms|s|m|h|d')) return 'duration'
  if (node.pattern?.includes('KiB')) return 'size'
  if (node.type === 'string') return 'text'
  if (node.type === 'object') return typeof node.additionalProperties === 'object' ? 'object by name' : 'object'
  return node.type ?? 'any'
}

/** One row a setting, and those below it. */
function rowsOf(path: string, node: Node, required: boolean): string[] {
  const alternatives = [...(node.anyOf ?? []), ...(node.oneOf ?? [])]
  const text = more[path] ?? node.description ?? ''
  const byDefault = node.default === undefined || JSON.stringify(node.default) === '{}' ? (required ? 'required' : '–') : code(node.default)
  const row = `| \`${path}\` | ${typeOf(node)} | ${byDefault} | ${text.replaceAll('|', '\\|').replaceAll(/</g, '&lt;')} |`
  if (/^listen\.(?:ext_proc|admin|issuer)\.tls$/.test(path)) return [`| \`${path}\` | object | – | as \`listen.check.tls\` |`]
  const below = [node, ...alternatives, ...(node.items ? [node.items, ...(node.items.anyOf ?? [])] : [])]
  const list = node.items && (node.items.properties || node.items.anyOf) ? '[]' : ''
  const members = below.flatMap((one) =>
    Object.entries(one.properties ?? {}).flatMap(([name, child]) =>
      rowsOf(`${path}${list}.${name}`, child, one.required?.includes(name) ?? false),
    ),
  )
  const each = typeof node.additionalProperties === 'object' ? node.additionalProperties : undefined
  const named = each === undefined ? [] : rowsOf(`${path}.*`, each, false)
  const holder = text === '' && node.type === 'object' && members.length > 0
  return [...(holder ? [] : [row]), ...members, ...named]
}

const head = ['| setting | type | default | what it says |', '| --- | --- | --- | --- |']

function validators(node: Node): string[] {
  const kinds = node.items?.oneOf ?? node.items?.anyOf ?? []
  return kinds.flatMap((kind) => {
    const type = String(kind.properties?.['type']?.const)
    const members = Object.entries(kind.properties ?? {})
    const rows = members.flatMap(([name, child]) => rowsOf(`identity[].${name}`, child, kind.required?.includes(name) ?? false))
    return [`\n### identity: ${type}\n`, ...head, ...rows]
  })
}

/** The tables of the page, from the schema. */
function settingsTables(): string {
  const schema = policySchema() as Node
  const out: string[] = []
  const single: string[] = []
  for (const [name, node] of Object.entries(schema.properties ?? {})) {
    const required = schema.anyOf?.[0]?.required?.includes(name) ?? false
    if (name === 'identity') {
      out.push('\n## identity\n', 'Required: the list of validators, in order. Each entry has one of these types.', ...validators(node))
    } else {
      const rows = rowsOf(name, node, required)
      if (rows.length === 1) single.push(...rows)
      else out.push(`\n## ${name}\n`, ...head, ...rows)
    }
  }
  return `${['## One value each\n', ...head, ...single, ...out].join('\n')}\n`
}

/** The page with these tables in it. */
export function withTables(text: string): string {
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${page}: expected ${begin} and ${end}`)
  return `${text.slice(0, from + begin.length)}\n\n${settingsTables()}\n${text.slice(to)}`
}

export const settingsPage = page

if (import.meta.main) writeFileSync(page, withTables(readFileSync(page, 'utf8')))
