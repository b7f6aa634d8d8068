import { at, type Json, type JsonObject } from './json.ts'
import { annotationOf, type Labels, marks, ownerLabelValue } from './ownership.ts'
import { perObject } from './per-object.ts'
import { percentDecode, percentEncode } from './percent.ts'
import type { OwnershipRules, Policy } from './policy.ts'
import type { Principal } from './principal.ts'
import type { ListDemand } from './route.ts'
import { parseSharedWith, type SharedWith } from './shared-with.ts'

/** What of a principal its access to resources depends on. */
export interface CallerFacts {
  /** With the validator's namespace. */
  readonly subject: string
  readonly rawSubject: string
  readonly validator: string
  /** As presented. */
  readonly roles: readonly string[]
  readonly groups: readonly string[]
  /** As it stands in the tenant label; undefined for a principal of no tenant. */
  readonly tenant: string | undefined
}

/** Who asks for a resource. */
export class Caller {
  readonly rules: OwnershipRules
  readonly facts: CallerFacts
  /** As it stands in the owner label. */
  readonly owner: string
  #given: ReadonlySet<string> | undefined

  constructor(rules: OwnershipRules, facts: CallerFacts) {
    this.rules = rules
    this.facts = facts
    this.owner = ownerLabelValue(facts.subject)
  }

  /** All that its roles give. Most callers own what they ask for, and nobody ever looks. */
  get given(): ReadonlySet<string> {
    this.#given ??= this.rules.given(this.facts.roles)
    return this.#given
  }
}

const callers = new WeakMap<Principal, Caller>()

/** A principal as a caller: made once, as long as the policy stays. */
export function callerOf(principal: Principal, rules: OwnershipRules): Caller {
  const known = callers.get(principal)
  if (known !== undefined && known.rules === rules) return known
  const { subject, rawSubject, validator, roles, claims } = principal
  const tenant = rules.tenant && tenantOf(at(claims, rules.tenant.claim))
  const caller = new Caller(rules, { subject, rawSubject, validator, roles, groups: groupsOf(at(claims, rules.groupsClaim)), tenant })
  callers.set(principal, caller)
  return caller
}

// A lone surrogate has no UTF-8 of its own: two such texts would be hashed, and encoded, to the same.
const isText = (claim: Json | undefined): claim is string => typeof claim === 'string' && claim.isWellFormed()

/** A tenant as its label says it: by the rule of owners, so that one that looks like a hash is none. */
const tenantOf = (claim: Json | undefined): string | undefined => (isText(claim) && claim !== '' ? ownerLabelValue(claim) : undefined)

/** A list of strings; anything else are no groups. */
const groupsOf = (claim: Json | undefined): readonly string[] => (Array.isArray(claim) && claim.every(isText) ? claim : [])

/**
 * The caller that the metadata of a check tells of (`subject`, `validator`, `roles`, `groups`, `tenant`), as
 * `ownershipMetadata` wrote it.
 * @returns undefined where it names nobody, or is nothing that Postern wrote
 */
export function callerFrom(metadata: JsonObject, rules: OwnershipRules): Caller | undefined {
  const subject = textOf(metadata['subject'])
  const validator = textOf(metadata['validator'])
  const roles = listOf(metadata['roles'])
  const groups = listOf(metadata['groups'])
  const tenant = metadata['tenant'] === undefined ? '' : textOf(metadata['tenant'])
  if (!subject || !validator || !roles || !groups || tenant === undefined) return undefined
  const namespace = rules.namespaces.get(validator)
  if (namespace === undefined || !subject.startsWith(namespace)) return undefined
  const rawSubject = subject.slice(namespace.length)
  return new Caller(rules, { subject, rawSubject, validator, roles, groups, tenant: tenant === '' ? undefined : tenant })
}

const textOf = (value: Json | undefined): string | undefined => (typeof value === 'string' ? percentDecode(value) : undefined)

function listOf(value: Json | undefined): readonly string[] | undefined {
  if (value === undefined || value === '') return []
  if (typeof value !== 'string') return undefined
  const list = value.split(',').map(percentDecode)
  return list.every((element) => element !== undefined) ? list : undefined
}

/** What is asked for: as {@link OwnerDemand} says it. */
export interface Need {
  /** Name under `sources`, or undefined for Postern's own labels. */
  readonly source: string | undefined
  /** The request takes the resource away: its owner may ask again for what was begun. */
  readonly removes: boolean
}

/** Whether a method needs more than the right to read. */
export const isWrite = (method: string): boolean => method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS'

/** Why a resource is not for a caller; for log and audit trail. */
export class Refusal {
  readonly detail: string
  constructor(detail: string) {
    this.detail = detail
  }
}

/** By what right a caller uses a resource. */
export type Access = 'owner' | 'shared' | Refusal

const refusals = {
  unknown: new Refusal('the resource is unknown'),
  ownerless: new Refusal('the resource has no owner'),
  other: new Refusal('the owner is somebody else'),
  readOnly: new Refusal('the resource is shared for reading only'),
  orphan: new Refusal('the resource awaits an owner: what made it could not be recorded'),
  deleting: new Refusal('the resource is being removed'),
  tenantless: new Refusal('the resource has no tenant'),
  noTenant: new Refusal('the caller has no tenant'),
  otherTenant: new Refusal('the resource is of another tenant'),
} as const

type AccessRules = Pick<Policy, 'ownerLabel' | 'ownership' | 'subjectsOf'>

/**
 * Whether a caller may use a resource: its owner, else whoever it is shared with; in both cases of its tenant alone. Roles that
 * bypass owners are the business of whoever asks, but for {@link tenantRefusal}.
 * @param labels undefined where the resource is unknown
 * @param write whether it takes more than the right to read: {@link isWrite}
 */
export function access(rules: AccessRules, caller: Caller, labels: Labels | undefined, need: Need, write: boolean): Access {
  if (labels === undefined) return refusals.unknown
  const owner = labels.get(rules.ownerLabel)
  if (need.source !== undefined) return accessToSource(rules, caller, owner, need.source)
  const { ownership } = rules
  // A record of one label has nothing else to say.
  if (owner === caller.owner && labels.size === 1 && ownership.tenant === undefined) return 'owner'
  if (labels.has(marks.orphan)) return refusals.orphan
  if (owner === undefined || owner === '') return refusals.ownerless
  const owns = owner === caller.owner
  if (labels.has(marks.deleting) && !(owns && need.removes)) return refusals.deleting
  const foreign = tenantRefusal(ownership, caller, labels)
  if (foreign !== undefined) return foreign
  return owns ? 'owner' : sharedAccess(ownership, caller, labels, write)
}

/** A platform's own data holds subjects as one validator's tokens say them: the same text from another is another person. */
function accessToSource({ subjectsOf }: AccessRules, { facts }: Caller, owner: string | undefined, source: string): Access {
  if (owner === undefined || owner === '') return refusals.ownerless
  const validator = subjectsOf.get(source)
  if (validator !== undefined && facts.validator !== validator) return foreignSubjects(source)
  return owner === facts.rawSubject ? 'owner' : refusals.other
}

/** What is told where the owners that a source names are subjects of another validator than the caller's. */
const foreignSubjects = (source: string): Refusal => new Refusal(`the owners of ${source} are subjects of another validator`)

/** Why the tenant of a resource keeps a caller out; undefined where there are no tenants, or it is the caller's own. */
export function tenantRefusal({ tenant }: OwnershipRules, caller: Caller, labels: Labels | undefined): Refusal | undefined {
  if (tenant === undefined) return undefined
  if (bypassesTenants(tenant, caller)) return undefined
  const whose = labels?.get(tenant.label)
  if (whose === undefined || whose === '') return labels === undefined ? refusals.unknown : refusals.tenantless
  if (caller.facts.tenant === undefined) return refusals.noTenant
  return whose === caller.facts.tenant ? undefined : refusals.otherTenant
}

/** Whether a caller reaches the resources of every tenant. */
export const bypassesTenants = (tenant: OwnershipRules['tenant'], { facts }: Caller): boolean =>
  tenant === undefined || (tenant.bypass.size > 0 && facts.roles.some((role) => tenant.bypass.has(role)))

function sharedAccess(rules: OwnershipRules, caller: Caller, labels: Labels, write: boolean): Access {
  if (rules.shared === undefined) return refusals.other
  const mayWrite = rightOf(sharesIn(rules)(labels), caller)
  if (mayWrite === undefined) return refusals.other
  return write && !mayWrite ? refusals.readOnly : 'shared'
}

/** What the label says, kept as long as the labels are. A list that no Kubernetes label can hold stands in the annotation of its name. */
const sharesIn = perObject(({ shared = '' }: OwnershipRules) =>
  perObject((labels: Labels): SharedWith => parseSharedWith(labels.get(annotationOf(shared)) ?? labels.get(shared) ?? '')),
)

/** @returns whether the caller may write too; undefined where nothing is shared with it */
function rightOf({ subjects, roles, groups }: SharedWith, caller: Caller): boolean | undefined {
  let right: boolean | undefined
  const note = (write: boolean | undefined): void => {
    if (write !== undefined) right = right === true || write
  }
  if (subjects.size > 0) {
    const { subject } = caller.facts
    // What looks like a hash is taken for one, so that nobody gets another's by calling themselves so.
    if (!subject.startsWith('sha256-')) note(subjects.get(subject))
    note(subjects.get(caller.owner))
  }
  if (roles.size > 0) for (const role of caller.given) note(roles.get(role))
  if (groups.size > 0) for (const group of caller.facts.groups) note(groups.get(group))
  return right
}

/** Whether a caller sees all that a list route lists: by a role of the route, and where there are tenants by one of theirs too. */
export const seesAll = (rules: OwnershipRules, caller: Caller, { bypass }: Pick<ListDemand, 'bypass'>): boolean =>
  bypass.size > 0 && caller.facts.roles.some((role) => bypass.has(role)) && bypassesTenants(rules.tenant, caller)

/**
 * Whose resources an upstream is to list (`x-postern-owner`): the caller's owner label, or its subject as a source has it; `*` for
 * all, which is neither a label nor what a subject called so becomes.
 */
export function listOwner({ ownership, subjectsOf }: AccessRules, caller: Caller, list: ListDemand): string | Refusal {
  if (seesAll(ownership, caller, list)) return '*'
  if (list.source === undefined) return caller.owner
  const validator = subjectsOf.get(list.source)
  if (validator !== undefined && caller.facts.validator !== validator) return foreignSubjects(list.source)
  const subject = percentEncode(caller.facts.rawSubject)
  return subject === '*' ? '%2A' : subject
}
