import type { JsonObject } from '../core/json.ts'
import type { Actor } from '../core/principal.ts'
import type { ConditionFacts } from '../core/route.ts'

/** Query parameters by name; values of a repeated one are joined with a comma, as those of headers are. */
function queryMap(query: string): ReadonlyMap<string, string> {
  const map = new Map<string, string>()
  if (query === '') return map
  // With its question mark, since one that the query itself begins with would be taken for it.
  for (const [name, value] of new URLSearchParams(`?${query}`)) {
    const before = map.get(name)
    map.set(name, before === undefined ? value : `${before},${value}`)
  }
  return map
}

// The variables below are read through getters, so that an expression pays only for what it names.

/** `request` */
export class RequestVariable {
  readonly #facts: ConditionFacts
  constructor(facts: ConditionFacts) {
    this.#facts = facts
  }
  get method(): string {
    return this.#facts.target.method
  }
  get host(): string {
    return this.#facts.target.host
  }
  get path(): string {
    const { path, segments, escaped } = this.#facts.target
    // As the upstream reads it: a condition that denies a path is not to be stepped around by an escape.
    return escaped === undefined ? path : `/${segments.map((segment) => segment.replaceAll('/', '%2F')).join('/')}`
  }
  get headers(): ReadonlyMap<string, string> {
    return new Headers(this.#facts.request)
  }
  get query(): ReadonlyMap<string, string> {
    return queryMap(this.#facts.target.query)
  }
}

/** Headers of a request as a map that looks each up when it is asked for. */
class Headers extends Map<string, string> {
  readonly #request: ConditionFacts['request']
  constructor(request: ConditionFacts['request']) {
    super()
    this.#request = request
  }
  override get(name: string): string | undefined {
    return this.#request.header(name)
  }
  override has(name: string): boolean {
    return this.#request.header(name) !== undefined
  }
  override get size(): number {
    return this.#all().size
  }
  override keys(): MapIterator<string> {
    return this.#all().keys()
  }
  override values(): MapIterator<string> {
    return this.#all().values()
  }
  override entries(): MapIterator<[string, string]> {
    return this.#all().entries()
  }
  override forEach(each: (value: string, key: string, map: Map<string, string>) => void): void {
    this.#all().forEach(each)
  }
  override [Symbol.iterator](): MapIterator<[string, string]> {
    return this.#all().entries()
  }
  #all(): Map<string, string> {
    const all = new Map<string, string>()
    for (const name of this.#request.headerNames()) {
      const value = this.#request.header(name)
      if (value !== undefined) all.set(name, value)
    }
    return all
  }
}

// The library knows maps by their constructor.
Object.defineProperty(Headers.prototype, 'constructor', { value: Map })

/** `principal.actor`: empty texts where nobody acts for the subject. */
export class ActorVariable {
  readonly #actor: Actor | undefined
  constructor(actor: Actor | undefined) {
    this.#actor = actor
  }
  get subject(): string {
    return this.#actor?.subject ?? ''
  }
  get issuer(): string {
    return this.#actor?.issuer ?? ''
  }
  get actor(): ActorVariable {
    return new ActorVariable(this.#actor?.actor)
  }
}

/** `principal` */
export class PrincipalVariable {
  readonly #principal: ConditionFacts['principal']
  constructor(principal: ConditionFacts['principal']) {
    this.#principal = principal
  }
  get subject(): string {
    return this.#principal.subject
  }
  get issuer(): string {
    return this.#principal.issuer
  }
  get validator(): string {
    return this.#principal.validator
  }
  get roles(): readonly string[] {
    return this.#principal.roles
  }
  get scopes(): readonly string[] {
    return this.#principal.scopes
  }
  get claims(): JsonObject {
    return this.#principal.claims
  }
  get token_id(): string {
    return this.#principal.tokenId ?? ''
  }
  get end_user(): string {
    return this.#principal.endUser ?? ''
  }
  get actor(): ActorVariable {
    return new ActorVariable(this.#principal.actor)
  }
}

/** `workload`: empty texts where there is none. */
export class WorkloadVariable {
  readonly #workload: ConditionFacts['workload']
  constructor(workload: ConditionFacts['workload']) {
    this.#workload = workload
  }
  get id(): string {
    return this.#workload?.id ?? ''
  }
  get trust_domain(): string {
    return this.#workload?.trustDomain ?? ''
  }
}

/** All variables of one evaluation; the library asks for those that the expression names. */
export class Variables {
  readonly #facts: ConditionFacts
  constructor(facts: ConditionFacts) {
    this.#facts = facts
  }
  get request(): RequestVariable {
    return new RequestVariable(this.#facts)
  }
  get principal(): PrincipalVariable {
    return new PrincipalVariable(this.#facts.principal)
  }
  get workload(): WorkloadVariable {
    return new WorkloadVariable(this.#facts.workload)
  }
  get params(): ReadonlyMap<string, string> {
    return this.#facts.params
  }
  get resource(): ReadonlyMap<string, string> {
    return this.#facts.resource
  }
  get now(): Date {
    return new Date(this.#facts.now)
  }
}
