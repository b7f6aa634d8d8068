import { randomUUID } from 'node:crypto'
import type { JsonObject } from '../../core/json.ts'
import type { RecordStore, StoredRecord } from '../../core/record-store.ts'
import { numberOf, present, textOf, textsOf } from './record-values.ts'

/** `expiring`: idle, and its tokens are being revoked. */
export const agentStatuses = ['active', 'released', 'expiring', 'expired'] as const
export type AgentStatus = (typeof agentStatuses)[number]

/** An agent as it is kept. Times are seconds since the epoch. */
export interface Agent {
  /** `spiffe://<trust domain>/agent/<orch_id>/<task_id>/<id>` */
  readonly id: string
  readonly name: string
  readonly orchestration: string
  readonly task: string
  /** The app whose launch token let it in. */
  readonly app: string | undefined
  readonly scopes: readonly string[]
  /** Seconds that each of its tokens lives. */
  readonly ttl: number
  /** Thumbprint of its public key. */
  readonly key: string
  /** `jti` of the token that may be renewed: the one that it was given last. */
  readonly token: string
  readonly registeredAt: number
  readonly lastSeen: number
  readonly status: AgentStatus
}

/** An agent that was found, and the record that it was read from. */
export interface FoundAgent {
  readonly agent: Agent
  readonly stored: Pick<StoredRecord, 'id' | 'until' | 'revision'>
}

export interface AgentRegister {
  /** @returns undefined where this is the id of no agent. @throws {Unavailable} */
  readonly find: (id: string) => Promise<FoundAgent | undefined>
  /** An agent that may act now: active, heard of in time, and not revoked. @param now seconds since the epoch. @throws {Unavailable} */
  readonly findActive: (id: string, now: number) => Promise<FoundAgent | undefined>
  /** Writes a new one. @throws {Unavailable} */
  readonly add: (agent: Agent, until: number) => Promise<void>
  /** @returns whether it still was as it was found. @throws {Unavailable} */
  readonly change: (found: FoundAgent, next: Agent, until: number) => Promise<boolean>
}

/** A segment of a path in a SPIFFE ID (SPIFFE-ID, section 2.2), none of `.` and `..`. */
export const segment = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/

/** A new agent's id. */
export const newAgentId = (trustDomain: string, orchestration: string, task: string): string =>
  `spiffe://${trustDomain}/agent/${orchestration}/${task}/${randomUUID()}`

/** A record's id has at most 256 characters, an agent's may be longer: its last segment names the record. */
const recordId = (id: string): string => id.slice(id.lastIndexOf('/') + 1)

export function readAgent({ value }: Pick<StoredRecord, 'value'>): Agent | undefined {
  const text = (name: string): string | undefined => textOf(value[name])
  const [id, orchestration, task, key, token] = [text('agent_id'), text('orch_id'), text('task_id'), text('key'), text('token')]
  const [scopes, ttl, registeredAt, lastSeen] = [
    textsOf(value['scopes']),
    numberOf(value['ttl']),
    numberOf(value['registered_at']),
    numberOf(value['last_seen']),
  ]
  const status = agentStatuses.find((one) => one === value['status'])
  if (!id || !orchestration || !task || !key || !token || !scopes || !ttl || !status) return undefined
  if (registeredAt === undefined || lastSeen === undefined) return undefined
  return { id, name: text('name') ?? '', orchestration, task, app: text('app'), scopes, ttl, key, token, registeredAt, lastSeen, status }
}

const write = (agent: Agent): JsonObject =>
  present({
    agent_id: agent.id,
    name: agent.name,
    orch_id: agent.orchestration,
    task_id: agent.task,
    app: agent.app,
    scopes: [...agent.scopes],
    ttl: agent.ttl,
    key: agent.key,
    token: agent.token,
    registered_at: agent.registeredAt,
    last_seen: agent.lastSeen,
    status: agent.status,
  })

/**
 * Agents as records of the kind `agent`; `until` of one that is active is when it will have been idle for too long.
 * @param isRevoked whether the agent with this id was revoked: what it were given now would be younger than that, and so be
 * admitted. Throws {Unavailable} where that cannot be known. Absent: none is
 */
export function createAgents(
  records: Pick<RecordStore, 'read' | 'write'>,
  isRevoked: (id: string) => boolean = () => false,
): AgentRegister {
  const find = async (id: string): Promise<FoundAgent | undefined> => {
    if (!/^spiffe:\/\/[!-~]+\/[!-~]{1,256}$/.test(id) || recordId(id) === '') return undefined
    const stored = await records.read('agent', recordId(id))
    const agent = stored && readAgent(stored)
    return stored && agent && agent.id === id ? { agent, stored } : undefined
  }
  return {
    find,
    findActive: async (id, now) => {
      const found = await find(id)
      return found && found.agent.status === 'active' && found.stored.until > now && !isRevoked(id) ? found : undefined
    },
    add: async (agent, until) => {
      if ((await records.write('agent', { id: recordId(agent.id), value: write(agent), until }, undefined)) === undefined)
        throw new Error('two agents have one random id')
    },
    change: async ({ stored }, next, until) =>
      (await records.write('agent', { id: stored.id, value: write(next), until }, stored.revision)) !== undefined,
  }
}
