import { hash, X509Certificate } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { adminClient } from '../support/admin.ts'
import type { Identity } from '../support/certificates.ts'
import type { Ask, Case, CertificateSpec, Step } from './case.ts'
import { certificateSpec, tokenSpec } from './case.ts'
import { type CheckClient, checkClient } from './check.ts'
import { dial, exchange } from './http1.ts'
import { exchangeHttp2 } from './http2.ts'
import { judge } from './judge.ts'
import { messageOf } from './message.ts'
import { type Outcome, outcomeOf, worst } from './outcome.ts'
import { certificates, people } from './people.ts'
import { mint, thumbprint } from './tokens.ts'
import type { World } from './world.ts'

/** How a case came out. */
export interface Result {
  readonly case: Case
  /** `not applicable`: it needs what the server does not have. `pending`: it broke, and that is known. */
  readonly verdict: 'held' | 'broken' | 'not applicable' | 'pending'
  /** What was wrong, or how it held. */
  readonly detail: string
  readonly outcome?: Outcome
}

/** What is asked, and how strictly. */
export interface Runner {
  readonly run: (one: Case) => Promise<Result>
  readonly close: () => void
}

export interface RunnerOptions {
  /** Features that the server under test does not have: cases that need one are not applicable. */
  readonly lacks?: ReadonlySet<string>
  /** Postern itself: reasons are compared, an error is no denial, and what may be sanitized must be allowed. */
  readonly strict: boolean
  /** Tokens that the server itself has handed out, by the names that cases use. */
  readonly handed?: ReadonlyMap<string, string>
}

const nothing: ReadonlyMap<string, string> = new Map()
const none: ReadonlySet<string> = new Set()

/** Asks the cases of a world, through its Envoy and directly. */
export function createRunner(world: World, options: RunnerOptions): Runner {
  const client = checkClient(world.main.check)
  const ways = checkClient(world.ways.check)
  return {
    close: () => {
      client.close()
      ways.close()
    },
    run: async (one) => {
      const missing = one.needs.find((need) => options.lacks?.has(need))
      if (missing !== undefined) return { case: one, verdict: 'not applicable', detail: `needs ${missing}` }
      const asker = new Asker(world, one.on === 'ways' ? ways : client, one, options.handed ?? nothing)
      try {
        for (const step of one.first) await asker.step(step)
        let outcome = await asker.ask(one)
        if (outcome.kind === 'error' && !options.strict) {
          // Perhaps another case ended the server: once it is up again, this one is judged by its own answer.
          await sleep(1_500)
          outcome = await asker.ask(one)
        }
        const fault = judge(one, outcome, options.strict, (text) => asker.text(text), options.lacks ?? none) ?? asker.logFault()
        const verdict = fault === undefined ? 'held' : one.pending === undefined ? 'broken' : 'pending'
        return { case: one, verdict, detail: fault ?? outcome.detail, outcome }
      } catch (cause) {
        return { case: one, verdict: 'broken', detail: `could not be asked: ${cause instanceof Error ? cause.message : String(cause)}` }
      }
    },
  }
}

/** One case: its tokens are made once, and stay the same from step to step. */
class Asker {
  readonly #world: World
  readonly #client: CheckClient
  readonly #case: Case
  readonly #handed: ReadonlyMap<string, string>
  readonly #tokens = new Map<string, string>()
  readonly #identities = new Map<string, Identity>()

  constructor(world: World, client: CheckClient, one: Case, handed: ReadonlyMap<string, string>) {
    this.#world = world
    this.#client = client
    this.#case = one
    this.#handed = handed
  }

  async step(step: Step): Promise<void> {
    if ('wait' in step) return void (await sleep(step.wait))
    if ('ask' in step) {
      const outcome = await this.ask(step)
      if (step.must !== undefined && outcome.kind !== step.must)
        throw new Error(`a step before was to come to ${step.must}: ${outcome.detail}`)
      return
    }
    const admin = await adminClient(this.#world[this.#case.on === 'ways' ? 'ways' : 'main'].admin)
    if ('revoke' in step) await admin.revoke(step.revoke[0], this.text(step.revoke[1]))
    else await admin.setOwner(...step.owner)
    // In force within a second; here at once, but for the way through Redis.
    await sleep(300)
  }

  async ask(ask: Ask): Promise<Outcome> {
    return ask.via === 'check' ? this.#check(ask) : this.#throughEnvoy(ask)
  }

  #check(ask: Ask): Promise<Outcome> {
    const headers = [...ask.headers, ...this.#bearer(ask)]
    const filling = {
      text: (template: string) => this.text(template),
      certificate: (said: string | CertificateSpec) => encodeURIComponent(this.#identity(said).certPem),
      claims: (said: unknown) => this.#claims(said),
    }
    const { bytes, sent } = messageOf({ ...ask, headers }, filling)
    return this.#client.ask(bytes, sent)
  }

  async #throughEnvoy(ask: Ask): Promise<Outcome> {
    const identity = ask.certificate === undefined ? undefined : this.#identity(ask.certificate)
    const tls = {
      ca: this.#world.certificates.caPem,
      ...(identity && { cert: identity.certPem, key: identity.keyPem }),
      ...(ask.sni !== undefined && { servername: ask.sni }),
    }
    const port = this.#world.envoy.port(ask.on)
    if (ask.h2) {
      const filled = (fields: readonly (readonly [string, string])[]) => fields.map(([name, value]) => [name, this.text(value)] as const)
      const socket = await dial(port, tls, 'h2')
      const { fields, data, trailers } = ask.h2
      const bearer = this.#bearer(ask).map((line) => ['authorization', line.slice('Authorization: '.length)] as const)
      const request = {
        fields: [...filled(fields), ...bearer.map(([name, value]) => [name, this.text(value)] as const)],
        data,
        trailers: trailers && filled(trailers),
      }
      return worst((await exchangeHttp2(socket, request)).map(outcomeOf))
    }
    const lines = ask.lines ?? [
      `${ask.ask} HTTP/1.1`,
      `Host: ${ask.host}`,
      ...ask.headers,
      ...this.#bearer(ask),
      'Connection: close',
      ...lengthOf(ask),
    ]
    const bytes = Buffer.from(this.text(`${lines.join('\r\n')}\r\n\r\n${ask.body}`), 'latin1')
    return worst((await exchange(await dial(port, tls, 'http/1.1'), bytes)).map(outcomeOf))
  }

  /** A header line; a case with a token and no line that holds it presents it so, too. */
  #bearer(ask: Ask): string[] {
    if (ask.as !== undefined) return [`Authorization: Bearer {{${ask.as}}}`]
    if (ask !== this.#case || this.#case.token === undefined) return []
    const shown = JSON.stringify([ask.ask, ask.headers, ask.lines, ask.h2, ask.check]).includes('{{token}}')
    return shown ? [] : ['Authorization: Bearer {{token}}']
  }

  /** What `{{…}}` stands for: a person's or the case's token, an issuer, or something repeated. */
  text(template: string): string {
    return template.replace(/\{\{([\s\S]+?)\}\}/g, (_, said: string) => this.#value(said))
  }

  #value(said: string): string {
    const [word = '', ...rest] = said.split(' ')
    if (word === 'repeat') return (rest[0] ?? '').repeat(Number(rest[1]))
    if (word === 'issuer') return this.#world.minting.issuers[rest[0] as 'here']
    const handed = this.#handed.get(said)
    if (handed !== undefined) return handed
    if (word === 'base64') return Buffer.from(this.text(`{{${rest.join(' ')}}}`)).toString('base64')
    if (word === 'basic') return Buffer.from(`${rest[0]}:${this.#value(rest.slice(1).join(' '))}`).toString('base64')
    if (word === 'cut') return this.#value(rest.join(' ')).slice(0, -1)
    if (word === 'lower') return this.#value(rest.join(' ')).toLowerCase()
    if (word === 'upper') return this.#value(rest.join(' ')).toUpperCase()
    if (word === 'sha256') return hash('sha256', this.#value(rest.join(' ')))
    if (word === 'without-signature') return this.#value(rest[0] ?? '').replace(/[^.]*$/, '')
    return this.#token(said)
  }

  #token(name: string): string {
    const known = this.#tokens.get(name)
    if (known !== undefined) return known
    const own = name === 'token' ? this.#case.token : this.#case.tokens[name.replace('token.', '')]
    const spec = own ?? people[name]?.token
    if (spec === undefined) throw new Error(`nobody is called ${name}`)
    const made = mint(tokenSpec(this.#filled(spec)), this.#world.minting)
    this.#tokens.set(name, made)
    return made
  }

  /** Hashes that bind tokens and proofs to each other: `[ath TOKEN]`, `[jkt]` of the client's key, `[x5t CERTIFICATE]`. */
  #filled(spec: object): unknown {
    return JSON.parse(
      JSON.stringify(spec).replace(/\[(ath|jkt|x5t)(?: ([^\]]+))?\]/g, (_, what: string, of = '') => {
        if (what === 'ath') return hash('sha256', this.#value(of), 'base64url')
        if (what === 'jkt') return thumbprint(this.#world.minting.keys.client.publicKey.ec)
        return hash('sha256', new X509Certificate(this.#identity(of).certPem).raw, 'base64url')
      }),
    )
  }

  #claims(said: unknown): Record<string, unknown> {
    if (typeof said !== 'string') return said as Record<string, unknown>
    return JSON.parse(Buffer.from(this.text(said).split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>
  }

  #identity(said: string | CertificateSpec): Identity {
    const kept = this.#identities.get(JSON.stringify(said))
    if (kept !== undefined) return kept
    const spec = typeof said === 'string' ? certificateSpec({ uri: certificates[said] ?? [said] }) : said
    const authority = spec.by === 'stranger' ? this.#world.strangers : this.#world.certificates
    const name = `client-${counter++}`
    const made = authority.workload(name, spec.uri[0] ?? '', { uri: spec.uri, dns: spec.dns, commonName: spec.commonName })
    this.#identities.set(JSON.stringify(said), made)
    return made
  }

  /** A line of the access log that a client wrote. */
  logFault(): string | undefined {
    const { log } = this.#case
    if (log === undefined) return undefined
    return this.#world.envoy.program.stdout.some((line) => line.startsWith(log)) ? `a line of the access log begins with ${log}` : undefined
  }
}

let counter = 0

const lengthOf = (ask: Ask): string[] =>
  ask.body === '' || ask.headers.some((line) => /^(?:content-length|transfer-encoding):/i.test(line))
    ? []
    : [`Content-Length: ${ask.body.length}`]
