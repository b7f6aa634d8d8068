import type { JsonObject } from '../core/json.ts'
import { ClaimConditions } from './federation-conditions.ts'
import { generic, providers } from './providers.ts'
import type { Settings } from './schema.ts'
import type { FederationSettings } from './schema-issuer.ts'
import { parseSubjectTemplate, type SubjectTemplate } from './subject-template.ts'

/** A federation rule, compiled. */
export interface CompiledFederation {
  readonly settings: FederationSettings
  readonly when: ((claims: JsonObject) => boolean) | undefined
  readonly subject: SubjectTemplate
  readonly algorithms: NonNullable<FederationSettings['algorithms']>
  /** Accepted `typ` in lower case; undefined among them for tokens without one. */
  readonly types: readonly (string | undefined)[]
  /** `use` of the keys that sign them, beside `sig`. */
  readonly keyUse: string | undefined
  /** What our tokens may be for. */
  readonly audiences: readonly string[]
}

/** Compiles the rules of settings that were checked. */
export function compileFederation({ issuer, identity }: Settings): CompiledFederation[] {
  const conditions = new ClaimConditions()
  const edge = identity.flatMap((entry) => (entry.type === 'postern' ? [entry.audience] : [])).slice(0, 1)
  return issuer.federation.map((settings) => {
    const known = settings.trust_domain === undefined ? generic : providers.spiffe
    const condition = settings.when === undefined ? undefined : conditions.compile(settings.when)
    const subject = parseSubjectTemplate(settings.subject)
    if ((condition && 'message' in condition) || 'message' in subject)
      throw new Error(`the federation rule ${settings.name} was compiled before it was checked`)
    return {
      settings,
      when: condition?.holds,
      subject,
      algorithms: settings.algorithms ?? (known.algorithms as CompiledFederation['algorithms']),
      types: known.types.map((type) => (type === 'none' ? undefined : type)),
      keyUse: known.keyUse,
      audiences: settings.audiences ?? edge,
    }
  })
}
