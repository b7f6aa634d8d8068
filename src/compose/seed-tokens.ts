import type { BrokerPort } from '../admin/ports.ts'
import type { Settings } from '../config/schema.ts'
import { launchDefaults } from '../core/broker.ts'
import type { RecordAct } from '../issuer/issuance.ts'
import type { IssuerParts } from './issuer.ts'

export interface SeedNeeds {
  readonly settings: Settings
  readonly broker: BrokerPort
  readonly issuer: Pick<IssuerParts, 'mint'>
  readonly record: RecordAct
  /** Gets the lines that are printed. */
  readonly print: (text: string) => void
}

const actor = 'seed_tokens'
/** Seconds: a day of trying things out may have some. */
const ttl = 3600

/**
 * Makes a launch token and an admin token at the start, and prints them, where `broker.seed_tokens` says so: for whoever develops
 * on this machine. They are in the audit trail as any other, and never in the log.
 * @throws {Unavailable}
 */
export async function printSeedTokens({ settings, broker, issuer, record, print }: SeedNeeds): Promise<void> {
  if (!settings.broker.seed_tokens) return
  const launch = { agentName: 'seed', allowedScope: ['*'], maxTtl: launchDefaults.maxTtl, singleUse: false, ttl }
  const made = await broker.launchTokens.create(launch, actor)
  const admin = issuer.mint.admin(actor, Date.now())
  await record({ type: 'admin_login', outcome: 'success', actor, target: admin.id })
  print(`POSTERN_SEED_LAUNCH_TOKEN=${made?.token ?? ''}\nPOSTERN_SEED_ADMIN_TOKEN=${admin.token}\n`)
}
