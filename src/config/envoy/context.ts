import type { Findings } from './finding.ts'
import type { EnvoyResources } from './model.ts'
import type { PolicyFacts } from './policy-facts.ts'
import type { Setting } from './setting.ts'

/** What every check is given. */
export interface Context {
  readonly findings: Findings
  readonly resources: EnvoyResources
  /** The policy that the configuration is compared with, where there is one. */
  readonly policy: PolicyFacts | undefined
  /** A patch says only what it changes: what it leaves out is no finding. */
  readonly patch: boolean
}

/** Whether a setting is to be judged: in a patch, only where it is there. */
export const judged = ({ patch }: Context, setting: Setting): boolean => setting.present || !patch
