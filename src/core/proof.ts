import type { Routed } from './facts.ts'
import type { Soon } from './ports.ts'
import type { Principal } from './principal.ts'
import type { Deny } from './reasons.ts'

/** What was presented, for the proof that its bearer may use it. */
export interface ProofDemand {
  readonly state: Routed
  readonly principal: Principal
  /** Scheme of `Authorization` in lower case, `bearer` for what stood elsewhere, empty where only Envoy's word came. */
  readonly scheme: string
  /** The token as presented; empty where only Envoy's word came. */
  readonly token: string
  /** Whether the principal was identified by the client certificate itself. */
  readonly byCertificate: boolean
}

/** Whether the bearer has proved possession of what the token is bound to. @returns undefined where it has, or need not */
export type Prove = (demand: ProofDemand) => Soon<Deny | undefined>
