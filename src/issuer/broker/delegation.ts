import { actorsIn, maxActors } from '../../core/actor.ts'
import type { Minted, OwnToken, TokenOrder } from '../../core/issuer.ts'
import type { Issuance, RecordAct } from '../issuance.ts'
import type { Agent, AgentRegister, FoundAgent } from './agents.ts'
import { present } from './record-values.ts'
import { activeUntil, type BrokerRefusal, type BrokerRules, clampTtl, holderOf, isWithin } from './rules.ts'
import { fitsToken } from './token-size.ts'

/** What an agent asks for, for another or for itself. */
export interface DelegationOrder {
  readonly scopes: readonly string[]
  /** Seconds; undefined: the usual. Never beyond the end of the token that it comes of. */
  readonly ttl: number | undefined
  /** Who is to act: a registered agent; undefined: whoever holds the token now, with less. */
  readonly agentId: string | undefined
}

export type Delegated =
  | { readonly kind: 'delegated'; readonly minted: Minted }
  | { readonly kind: 'refused'; readonly reason: BrokerRefusal }

export interface DelegationNeeds {
  readonly rules: () => BrokerRules
  readonly agents: Pick<AgentRegister, 'findActive' | 'change'>
  readonly issue: Issuance
  readonly record: RecordAct
}

/** Seconds: that an agent was heard of is written no more often. */
const seenEvery = 60

/** Whether the broker made a token for this agent: another grant may have made one of its name, and says nothing of its task. */
const isOf = ({ task, orchestration }: OwnToken, agent: Agent): boolean => task === agent.task && orchestration === agent.orchestration

/**
 * Hands on a part of what a token may do (RFC 8693, section 1.1: delegation): `sub` stays, who acts stands outermost in
 * `act`, and the scopes are some of those that the token has.
 * @param now milliseconds since the epoch
 * @throws {Unavailable}
 */
export function delegating({ rules, agents, issue, record }: DelegationNeeds) {
  const seen = async (holder: FoundAgent, at: number): Promise<void> => {
    if (at - holder.agent.lastSeen < seenEvery) return
    // Whoever wrote meanwhile has heard of it too.
    await agents.change(holder, { ...holder.agent, lastSeen: at }, activeUntil(at, rules().idleAfter, holder.stored.until))
  }

  return async (token: OwnToken, asked: DelegationOrder, now: number): Promise<Delegated> => {
    const at = Math.floor(now / 1000)
    const holder = holderOf(token)
    const scopes = [...new Set(asked.scopes)]
    const refuse = async (reason: BrokerRefusal): Promise<Delegated> => {
      const detail = present({ grant: 'delegate', subject: token.subject, requested_scope: scopes, agent_id: asked.agentId })
      await record({ type: 'token_refused', outcome: 'failure', reason, actor: holder, target: token.id, detail })
      return { kind: 'refused', reason }
    }
    const acting = await agents.findActive(holder, at)
    const onBehalf = holder === token.subject ? acting : await agents.findActive(token.subject, at)
    if (!acting || !onBehalf || !isOf(token, onBehalf.agent)) return refuse('invalid_token')
    if (!isWithin(token.scopes, scopes)) return refuse('scope_outside_ceiling')
    if (asked.agentId !== undefined) {
      if (actorsIn(token.actor) >= maxActors) return refuse('chain_too_long')
      if (!(await agents.findActive(asked.agentId, at))) return refuse('agent_not_active')
    }
    const { audience, defaultTtl, maxTtl } = rules()
    const order: TokenOrder = {
      kind: 'edge',
      audience,
      subject: token.subject,
      client: token.client,
      roles: token.roles,
      scopes,
      actor: asked.agentId === undefined ? token.actor : { subject: asked.agentId, ...(token.actor && { actor: token.actor }) },
      task: token.task,
      orchestration: token.orchestration,
      ttl: clampTtl(asked.ttl, defaultTtl, maxTtl),
      end: token.expiresAt,
      now,
    }
    if (!fitsToken(order)) return refuse('token_too_large')
    const minted = await issue(order, { actor: holder, grant: 'delegate', detail: present({ parent: token.id, agent_id: asked.agentId }) })
    await seen(acting, at)
    return { kind: 'delegated', minted }
  }
}
