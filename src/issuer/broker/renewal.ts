import type { Apps } from '../../core/broker.ts'
import type { Minted, OwnToken } from '../../core/issuer.ts'
import type { ReplayStore, Revocation } from '../../core/ports.ts'
import type { RecordStore } from '../../core/record-store.ts'
import type { Issuance, RecordAct } from '../issuance.ts'
import type { AgentRegister, FoundAgent } from './agents.ts'
import { activeUntil, type BrokerRefusal, type BrokerRules, clampTtl, holderOf, isWithin } from './rules.ts'

export interface RenewalNeeds {
  readonly rules: () => BrokerRules
  readonly apps: Pick<Apps, 'get'>
  readonly agents: Pick<AgentRegister, 'find' | 'findActive' | 'change'>
  readonly records: Pick<RecordStore, 'remove'>
  readonly replays: ReplayStore
  readonly issue: Issuance
  readonly record: RecordAct
  /** Durable and in force here when it resolves. @throws {Unavailable} */
  readonly revoke: (revocation: Revocation) => Promise<void>
  /** Told of each agent that was released. */
  readonly onReleased: () => void
}

export type Renewed = { readonly kind: 'renewed'; readonly minted: Minted } | { readonly kind: 'refused'; readonly reason: BrokerRefusal }

/** What an agent does with its token. @param now milliseconds since the epoch. @throws {Unavailable} */
export interface Renewal {
  /**
   * A fresh token for the one that was given last: the same scopes and roles, and no longer a life. The old one is revoked.
   * A delegated token is not renewed: it would outlive the one that it came of.
   */
  readonly renew: (token: OwnToken, now: number) => Promise<Renewed>
  /** The task is done: the token is revoked; where it is the agent's own, the agent is released, and renews nothing any more. */
  readonly release: (token: OwnToken, now: number) => Promise<void>
}

/** Seconds that an agent which is over is kept, so that its id still says what became of it. */
export const keptAgents = 86_400
/** What others keep writing over is given up after so many turns. */
const mostTurns = 10

export function createRenewal({ rules, apps, agents, records, replays, issue, record, revoke, onReleased }: RenewalNeeds): Renewal {
  /** Refuses a token, and forgets it: its natural end is nothing to tell. */
  const end = async (token: OwnToken, now: number): Promise<void> => {
    const at = Math.floor(now / 1000)
    await revoke({ level: 'token', target: token.id, at, until: Math.max(token.expiresAt, at) + 1 })
    await records.remove('token', token.id)
  }
  const refuse = async (token: OwnToken, why: string): Promise<Renewed> => {
    const detail = { grant: 'renew', subject: token.subject }
    await record({ type: 'token_refused', outcome: 'failure', reason: why, actor: holderOf(token), target: token.id, detail })
    return { kind: 'refused', reason: 'invalid_token' }
  }

  return {
    renew: async (token, now) => {
      const at = Math.floor(now / 1000)
      const { maxTtl, idleAfter, audience, roles } = rules()
      if (token.actor) return refuse(token, 'delegated_token')
      const found = await agents.findActive(token.subject, at)
      if (!found) return refuse(token, 'agent_not_active')
      const { agent } = found
      if (agent.token !== token.id) return refuse(token, 'not_the_last_token')
      const app = agent.app === undefined ? undefined : await apps.get(agent.app)
      if (agent.app !== undefined && !app) return refuse(token, 'app_removed')
      if (app && !isWithin(app.scopes, token.scopes)) return refuse(token, 'scope_outside_ceiling')
      const minted = await issue(
        {
          kind: 'edge',
          audience,
          subject: agent.id,
          client: agent.app,
          // Roles that the policy has taken away since are not given again.
          roles: token.roles.filter((role) => roles.includes(role)),
          scopes: token.scopes,
          task: agent.task,
          orchestration: agent.orchestration,
          ttl: clampTtl(undefined, agent.ttl, maxTtl),
          now,
        },
        { actor: agent.id, grant: 'renew', detail: { replaces: token.id } },
      )
      for (let last: FoundAgent | undefined = found, turn = 0; turn < mostTurns; turn++) {
        if (await agents.change(last, { ...last.agent, token: minted.id, lastSeen: at }, activeUntil(at, idleAfter, minted.expiresAt))) {
          await end(token, now)
          return { kind: 'renewed', minted }
        }
        // Of several that renew one token one is given the next; what the others had made is handed to nobody.
        last = await agents.findActive(token.subject, at)
        if (last?.agent.token !== token.id) break
      }
      return refuse(token, 'renewed_meanwhile')
    },
    release: async (token, now) => {
      const at = Math.floor(now / 1000)
      for (let turn = 0; !token.actor; turn++) {
        const found = await agents.find(token.subject)
        if (!found || found.agent.token !== token.id || found.agent.status !== 'active') break
        if (turn === mostTurns) throw new Error('an agent is being written over by others')
        // What it delegated or had exchanged ends with it: none of that lives longer than its own tokens. Before the agent is
        // released, so that who is stopped in between can do it again.
        await revoke({ level: 'agent', target: found.agent.id, at, until: Math.max(token.expiresAt, at + found.agent.ttl) })
        if (await agents.change(found, { ...found.agent, status: 'released', lastSeen: at }, at + keptAgents)) {
          onReleased()
          break
        }
      }
      await end(token, now)
      // Of several that release one token at once one tells: whoever counts what was held counts it once.
      if (!(await replays.claim(`broker-released-${token.id}`, Math.max(token.expiresAt, at) + 1))) return
      const detail = { subject: token.subject, held_seconds: Math.max(0, at - token.issuedAt) }
      await record({ type: 'token_released', outcome: 'success', actor: holderOf(token), target: token.id, detail })
    },
  }
}
