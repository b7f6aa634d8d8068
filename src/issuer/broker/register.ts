import type { Apps } from '../../core/broker.ts'
import type { Minted, TokenOrder } from '../../core/issuer.ts'
import type { JsonObject } from '../../core/json.ts'
import type { ReplayStore } from '../../core/ports.ts'
import type { Issuance, RecordAct } from '../issuance.ts'
import { readAgentKey, type SentKey } from './agent-key.ts'
import { type AgentRegister, newAgentId } from './agents.ts'
import type { LaunchTokenRegister } from './launch-tokens.ts'
import { claimedUntil, claimOf, type Nonces } from './nonces.ts'
import { present } from './record-values.ts'
import { activeUntil, type BrokerRefusal, type BrokerRules, clampTtl, isWithin } from './rules.ts'
import { fitsToken } from './token-size.ts'

/** What an agent sends to be let in. */
export interface Registration {
  readonly launchToken: string
  readonly nonce: string
  readonly publicKey: SentKey
  /** Over the UTF-8 bytes of the nonce, base64url. */
  readonly signature: string
  /** Segments of the agent's SPIFFE ID. */
  readonly orchestration: string
  readonly task: string
  readonly scopes: readonly string[]
  /** Seconds; undefined: the usual. */
  readonly ttl: number | undefined
}

export type Registered =
  | { readonly kind: 'registered'; readonly agentId: string; readonly minted: Minted }
  | { readonly kind: 'refused'; readonly reason: BrokerRefusal }

export interface RegisterNeeds {
  readonly rules: () => BrokerRules
  readonly apps: Pick<Apps, 'get'>
  readonly launchTokens: Pick<LaunchTokenRegister, 'find'>
  readonly agents: Pick<AgentRegister, 'add'>
  readonly nonces: Nonces
  readonly replays: ReplayStore
  readonly issue: Issuance
  readonly record: RecordAct
  readonly onClockSkew: () => void
  /** Told of each attempt. */
  readonly onRegistration: (status: 'success' | 'failure') => void
}

/**
 * Lets an agent in. Nothing is used up unless everything else holds; then, in this order: the nonce, the launch token (by
 * compare and swap: of many at once one has it), its token, the agent's record. A crash in between leaves a launch token
 * that is used, and no agent.
 * @param now milliseconds since the epoch
 * @throws {Unavailable}
 */
export function registering(needs: RegisterNeeds): (asked: Registration, now: number) => Promise<Registered> {
  const { rules, apps, launchTokens, agents, nonces, replays, issue, record, onClockSkew, onRegistration } = needs

  const refuse = async (reason: BrokerRefusal, why: string, asked: Registration, launch?: string): Promise<Registered> => {
    onRegistration('failure')
    const { orchestration, task, scopes } = asked
    const detail = present({ orch_id: orchestration, task_id: task, requested_scope: [...scopes], launch_token: launch })
    await record({ type: 'agent_registered', outcome: 'failure', reason: why, detail })
    return { kind: 'refused', reason }
  }

  return async (asked, now) => {
    const { trustDomain, audience, defaultTtl, maxTtl, idleAfter, roles } = rules()
    const at = Math.floor(now / 1000)
    const found = await launchTokens.find(asked.launchToken)
    if (!found) return refuse('invalid_launch_token', 'unknown_launch_token', asked)
    const { kept, consume } = found
    if (kept.used) return refuse('invalid_launch_token', 'used_launch_token', asked, kept.id)
    if (kept.expiresAt <= at) return refuse('invalid_launch_token', 'expired_launch_token', asked, kept.id)
    const app = kept.app === undefined ? undefined : await apps.get(kept.app)
    // An app that is gone, or whose ceiling was lowered since, lets nobody in beyond it.
    if (kept.app !== undefined && !app) return refuse('invalid_launch_token', 'app_removed', asked, kept.id)
    if (!isWithin(kept.allowedScope, asked.scopes) || (app && !isWithin(app.scopes, asked.scopes)))
      return refuse('scope_outside_ceiling', 'scope_outside_ceiling', asked, kept.id)
    const key = readAgentKey(asked.publicKey)
    if (!key) return refuse('invalid_key', 'invalid_key', asked, kept.id)
    if (!nonces.accepts(asked.nonce, now)) {
      if (nonces.isOutOfTime(asked.nonce, now)) onClockSkew()
      return refuse('invalid_proof', 'invalid_nonce', asked, kept.id)
    }
    if (!key.signed(asked.nonce, asked.signature)) return refuse('invalid_proof', 'invalid_signature', asked, kept.id)

    const id = newAgentId(trustDomain, asked.orchestration, asked.task)
    const scopes = [...new Set(asked.scopes)]
    const ttl = clampTtl(asked.ttl, defaultTtl, kept.maxTtl, maxTtl)
    const order: TokenOrder = {
      kind: 'edge',
      audience,
      subject: id,
      client: kept.app,
      roles,
      scopes,
      task: asked.task,
      orchestration: asked.orchestration,
      ttl,
      now,
    }
    if (!fitsToken(order)) return refuse('token_too_large', 'token_too_large', asked, kept.id)

    if (!(await replays.claim(claimOf(asked.nonce), claimedUntil(now)))) return refuse('invalid_proof', 'reused_nonce', asked, kept.id)
    if (!(await consume())) return refuse('invalid_launch_token', 'used_launch_token', asked, kept.id)
    const detail: JsonObject = { launch_token: kept.id, agent_name: kept.agentName }
    const minted = await issue(order, { actor: id, grant: 'register', detail })
    const times = { registeredAt: at, lastSeen: at }
    const agent = { id, name: kept.agentName, orchestration: asked.orchestration, task: asked.task, app: kept.app, scopes, ttl }
    await agents.add(
      { ...agent, ...times, key: key.thumbprint, token: minted.id, status: 'active' },
      activeUntil(at, idleAfter, minted.expiresAt),
    )
    await record({
      type: 'agent_registered',
      outcome: 'success',
      actor: id,
      target: id,
      detail: present({ ...detail, scope: scopes, ttl, token: minted.id, key: key.thumbprint, app: kept.app }),
    })
    onRegistration('success')
    return { kind: 'registered', agentId: id, minted }
  }
}
