import { openCertificateLoader } from '../adapters/certificate-files.ts'
import { type Jwks, type JwksCondition, openJwks } from '../adapters/jwks.ts'
import { openJwksFile } from '../adapters/jwks-file.ts'
import { type CompiledFederation, compileFederation } from '../config/compile-federation.ts'
import type { Settings } from '../config/schema.ts'
import { parseSubjectTemplate } from '../config/subject-template.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import { type SignatureAlgorithm, verifySignature } from '../core/jws.ts'
import { operatorNamespace } from '../core/management-plane.ts'
import type { KeyAnswer, VerificationKeys } from '../core/verification-keys.ts'
import { claimAt } from '../identity/claim-path.ts'
import { checkTimes } from '../identity/claims.ts'
import { checkHeader, type HeaderRules } from '../identity/jose-header.ts'
import { createFederation, type ForeignAnswer, type VerifyForeign } from '../issuer/federation.ts'
import { fillSubject } from '../issuer/federation-subject.ts'
import type { SubjectVerifier } from '../issuer/subject-token.ts'
import { clientCertificates, withCertificates } from './certificates.ts'
import type { Pool } from './pool.ts'

export interface FederationNeeds {
  /** That of the validators: an issuer that both name is asked once. */
  readonly jwks: Pool<Jwks>
  /** Of this process; absent: opened where they are needed. */
  readonly certificates?: CertificateLoader | undefined
  /** Told after each fetch of an issuer's keys. */
  readonly onKeys?: ((condition: JwksCondition) => void) | undefined
  /** Stand for the keys of every issuer, where nothing can be fetched. */
  readonly keys?: VerificationKeys | undefined
}

/** Who gives subjects that all begin with a text of theirs: nobody else's subject may begin so. */
export const subjectGivers = ({
  identity,
}: Pick<Settings, 'identity'>): readonly { readonly name: string; readonly subjects: string }[] => [
  { name: 'the management plane', subjects: operatorNamespace },
  ...identity.flatMap((entry) =>
    'subject_namespace' in entry && entry.subject_namespace ? [{ name: entry.name, subjects: entry.subject_namespace }] : [],
  ),
]

/** The same of federation rules, as far as their templates say: there the token of a validator would be taken for a workload's. */
export const swappedSubjects = ({ issuer }: Pick<Settings, 'issuer'>): ReturnType<typeof subjectGivers> =>
  issuer.federation.flatMap(({ name, subject }) => {
    const template = parseSubjectTemplate(subject)
    return 'first' in template && template.first !== '' ? [{ name, subjects: template.first }] : []
  })

/** What the subjects of agents begin with, also while the broker is off: their tokens go on. */
export const agentSubjects = ({ broker }: Pick<Settings, 'broker'>): string => `spiffe://${broker.trust_domain}/agent/`

/** Verifies subject tokens by the federation rules of a policy; undefined where it has none. */
export function composeFederation(settings: Settings, needs: FederationNeeds): SubjectVerifier | undefined {
  const rules = compileFederation(settings)
  if (rules.length === 0) return undefined
  const reserved = [...subjectGivers(settings).map(({ subjects }) => subjects), agentSubjects(settings)]
  const verifiers = new Map<string, VerifyForeign>()
  return createFederation(
    rules.map((rule) => {
      const { name, issuer, trust_domain, audience, roles = [], scopes = [], ttl } = rule.settings
      return {
        name,
        issuer,
        trustDomain: trust_domain,
        audience,
        verify: verifierOf(rule, verifiers, needs),
        when: rule.when,
        subject: (claims) => fillSubject(rule.subject, claims, { claimAt, reserved }),
        roles,
        scopes,
        audiences: rule.audiences,
        ttl: Math.floor(ttl / 1000),
      }
    }),
  )
}

/** One for all rules with the same keys, algorithms and types. */
function verifierOf(rule: CompiledFederation, known: Map<string, VerifyForeign>, needs: FederationNeeds): VerifyForeign {
  const { algorithms, types, settings } = rule
  const { issuer, trust_domain, jwks } = settings
  const key = JSON.stringify([issuer ?? null, trust_domain ?? null, jwks ?? null, jwks?.token?.reference ?? null, algorithms, types])
  const verifier = known.get(key) ?? verifying({ algorithms, types }, needs.keys ?? keysOf(rule, needs))
  known.set(key, verifier)
  return verifier
}

/** What validators have unless their entry says otherwise: with the same an issuer is asked once for both. */
const usual = { refreshMs: 6 * 3_600_000, staleForMs: 24 * 3_600_000, timeoutMs: 2000 }

function keysOf({ settings, algorithms, keyUse }: CompiledFederation, { jwks: pool, certificates, onKeys }: FederationNeeds): Jwks {
  const { file, uri, ca, token } = settings.jwks ?? {}
  const issuer = settings.issuer ?? `spiffe://${settings.trust_domain}`
  const observe = onKeys && { observe: onKeys }
  const use = keyUse !== undefined && { keyUse }
  const keys =
    file === undefined
      ? fetched({ issuer, ...usual, ...(uri !== undefined && { uri }), ...use })
      : pool.get(JSON.stringify(['file', issuer, file, keyUse]), () => openJwksFile({ issuer, path: file, algorithms, ...use, ...observe }))
  keys.want(algorithms)
  return keys

  function fetched(options: Omit<Parameters<typeof openJwks>[0], 'algorithms'>): Jwks {
    return pool.get(JSON.stringify([options, ca, token?.reference]), () => {
      const source = clientCertificates(certificates ?? openCertificateLoader(), `jwks ${issuer}`, { ca })
      const read = token && { token: () => token.read() }
      return withCertificates(source, openJwks({ ...options, algorithms, tls: source?.current, ...read, ...observe }))
    })
  }
}

/** Verifies header, signature and times as validators do, and as JWT-SVID, sections 2 and 3, has it. */
function verifying(rules: HeaderRules, keys: VerificationKeys): VerifyForeign {
  return (token, { header, payload }, now) => {
    const fault = checkHeader(header, rules)
    if (fault) return refused(fault.detail)
    const alg = header['alg'] as SignatureAlgorithm
    const judge = (answer: KeyAnswer): ForeignAnswer => {
      if (answer.kind === 'unavailable') return answer
      if (answer.kind === 'unknown') return refused('no key of the issuer has this kid')
      if (!verifySignature(token, alg, answer.key)) return refused('the signature does not verify')
      const late = checkTimes(payload, now)
      return late ? refused(late.detail) : { kind: 'verified' }
    }
    const found = keys.find(header['kid'] as string | undefined, alg)
    return found instanceof Promise ? found.then(judge) : judge(found)
  }
}

const refused = (detail: string | undefined): ForeignAnswer => ({ kind: 'refused', detail: detail ?? 'the token is not valid' })
