import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseDocument } from 'yaml'
import { z } from 'zod'

const fields = z.record(z.string(), z.string())

/** How a token is made; see tokens.ts. All but `by` changes what a good token of alice would be. */
const token = z.strictObject({
  by: z.enum(['users', 'here', 'partners', 'stranger', 'client']).default('here'),
  claims: z.record(z.string(), z.unknown()).default({}),
  /** Claims left out. */
  drop: z.array(z.string()).default([]),
  /** Seconds from now. */
  times: z.record(z.string(), z.number()).default({}),
  /** The payload as text instead: for what no object can say. */
  payload: z.string().optional(),
  header: z.record(z.string(), z.unknown()).default({}),
  dropHeader: z.array(z.string()).default([]),
  headerText: z.string().optional(),
  /** What it is signed with; the header's `alg` follows unless `header` says otherwise. */
  alg: z.enum(['RS256', 'RS512', 'PS256', 'ES256', 'EdDSA', 'HS256', 'none']).default('RS256'),
  key: z.enum(['own', 'stranger', 'pem', 'pkcs1', 'der', 'jwk', 'modulus', 'jwks', 'kid', 'empty', 'nul']).default('own'),
  signature: z.enum(['plain', 'der', 'empty', 'zeros', 'short', 'long', 'flipped', 'tail']).default('plain'),
  /** The compact form, of `{header}`, `{payload}` and `{signature}`. */
  form: z.string().default('{header}.{payload}.{signature}'),
})

const certificate = z.strictObject({
  uri: z.array(z.string()).default([]),
  dns: z.array(z.string()).default([]),
  commonName: z.string().default('client'),
  /** `stranger`: a CA that Envoy does not trust. */
  by: z.enum(['workloads', 'stranger']).default('workloads'),
})

/** One request; what is left out is an ordinary `GET /plain`. */
const request = {
  via: z.enum(['envoy', 'check']).default('envoy'),
  /** Which of Envoy's listeners; see envoy-config.ts. */
  on: z.enum(['edge', 'lenient', 'forgiving', 'raw', 'ways']).default('edge'),
  ask: z.string().default('GET /plain'),
  host: z.string().default('edge.example'),
  headers: z.array(z.string()).default([]),
  body: z.string().default(''),
  /** `Authorization: Bearer` with a good token of this person. */
  as: z.string().optional(),
  /** The whole request by its lines, joined with CRLF; the body follows. */
  lines: z.array(z.string()).optional(),
  /** HTTP/2 instead: fields in order, pseudo-headers among them, as literals; and trailers. */
  h2: z
    .strictObject({
      fields: z.array(z.tuple([z.string(), z.string()])),
      data: z.string().optional(),
      trailers: z.array(z.tuple([z.string(), z.string()])).optional(),
    })
    .optional(),
  certificate: z.union([z.string(), certificate]).optional(),
  sni: z.string().optional(),
  /** The CheckRequest's attributes beside those of `ask`, `host` and `headers`. */
  check: z
    .strictObject({
      principal: z.string().optional(),
      /** Of the peer: its URL-encoded PEM goes to source.certificate. */
      certificate: z.union([z.string(), certificate]).optional(),
      /** Envoy's jwt_authn: metadata key → claims, or the name of a token whose payload it is. */
      verified: z.record(z.string(), z.unknown()).optional(),
      extensions: fields.optional(),
      /** header_map in place of the map; values of `raw` are bytes, as latin1. */
      raw: z.array(z.tuple([z.string(), z.string()])).optional(),
      /** Merged over the message, as protobuf's JSON with the names of the .proto; null takes a member away. */
      message: z.record(z.string(), z.unknown()).optional(),
      /** Bytes behind the message (hex), or in its place. */
      append: z.string().optional(),
      bytes: z.string().optional(),
    })
    .optional(),
}

const step = z.union([
  z.strictObject({ ...request, must: z.enum(['deny', 'allow']).optional() }),
  z.strictObject({ wait: z.number() }),
  z.strictObject({ revoke: z.tuple([z.enum(['token', 'subject']), z.string()]) }),
  z.strictObject({ owner: z.tuple([z.string(), z.string(), z.string()]) }),
])

const expected = z.strictObject({
  /** Which person's, workload's or nobody's identity goes on; see people.ts. */
  who: z.string(),
  /** More headers with the prefix, beside those of `who`. */
  set: fields.default({}),
  authorization: z.enum(['none', 'downstream', 'kept']).default('none'),
  /** Claims of the downstream token. */
  token: z.record(z.string(), z.unknown()).optional(),
  path: z.string().optional(),
  /** What is left of these headers. */
  cookie: z.string().optional(),
  subprotocol: z.string().optional(),
  /** Other names that must not arrive. */
  lacks: z.array(z.string()).default([]),
})

const one = z.strictObject({
  ...request,
  name: z.string(),
  why: z.string(),
  advisory: z.array(z.string()).default([]),
  token: token.partial().optional(),
  tokens: z.record(z.string(), token.partial()).default({}),
  first: z.array(step).default([]),
  expect: z.enum(['deny', 'refused', 'allow', 'allow-sanitized']),
  /** Postern's own word for it. */
  reason: z.string().optional(),
  /** Of the answer to the client. */
  status: z.number().optional(),
  upstream: expected.optional(),
  /** No line of the access log may begin with this. */
  log: z.string().optional(),
  /** What the server under test must have for the case to mean anything. */
  needs: z.array(z.string()).default([]),
  /** A known defect: shown as such, until it is mended. */
  pending: z.string().optional(),
})

const file = z.strictObject({
  about: z.string(),
  needs: z.array(z.string()).default([]),
  cases: z.array(z.record(z.string(), z.unknown())).min(1),
  defaults: z.record(z.string(), z.unknown()).default({}),
})

export type TokenSpec = z.output<typeof token>
export type CertificateSpec = z.output<typeof certificate>
export type Step = z.output<typeof step>
export type Ask = Extract<Step, { ask: string }>
export type Expected = z.output<typeof expected>
export type Case = z.output<typeof one> & { readonly class: string }

/** One file of cases. */
export interface CaseClass {
  readonly name: string
  readonly about: string
  readonly cases: readonly Case[]
}

const folder = fileURLToPath(new URL('cases/', import.meta.url))

/** A token from what a case says of it. */
export const tokenSpec = (said: unknown): TokenSpec => token.parse(said)
export const certificateSpec = (said: unknown): CertificateSpec => certificate.parse(said)

/**
 * Reads test/attacks/cases: a class for each file.
 * @throws naming file and case where one is not as the format has it, or two have one name
 */
export function readCases(): CaseClass[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => readClass(name.replace('.yaml', ''), readFileSync(`${folder}${name}`, 'utf8')))
}

/** What a case needs by how it is asked. */
const implied = ({ on, check }: z.output<typeof one>): string[] => [
  ...(on === 'raw' || check?.raw ? ['header-map'] : []),
  ...(on === 'ways' ? ['ways'] : []),
  ...(check?.certificate ? ['certificate'] : []),
]

/** Without what a case says `~` of: a default of its file that is not for it. */
const present = (said: Record<string, unknown>): object => Object.fromEntries(Object.entries(said).filter(([, value]) => value !== null))

function readClass(name: string, text: string): CaseClass {
  const document = parseDocument(text, { merge: true })
  if (document.errors.length > 0) throw new Error(`cases/${name}.yaml: ${document.errors[0]?.message}`)
  const { about, cases, defaults, needs } = file.parse(document.toJS())
  const seen = new Set<string>()
  const read = cases.map((said) => {
    const result = one.safeParse(present({ ...defaults, ...said }))
    if (!result.success) throw new Error(`cases/${name}.yaml, "${String(said['name'])}": ${z.prettifyError(result.error)}`)
    if (seen.has(result.data.name)) throw new Error(`cases/${name}.yaml: two cases are called "${result.data.name}"`)
    seen.add(result.data.name)
    return { ...result.data, needs: [...needs, ...result.data.needs, ...implied(result.data)], class: name }
  })
  return { name, about, cases: read }
}
