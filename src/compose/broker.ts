import type { Logger } from '../adapters/log.ts'
import type { Metrics } from '../adapters/metrics.ts'
import { openSharedSecret, type SharedSecret } from '../adapters/shared-secret.ts'
import { brokerPaths } from '../admin/openapi.ts'
import type { BrokerPort } from '../admin/ports.ts'
import type { Loaded } from '../config/read.ts'
import type { Settings } from '../config/schema.ts'
import { createLimit, limitKey } from '../core/limit.ts'
import { type AuditSink, type State, Unavailable } from '../core/ports.ts'
import { createAgents } from '../issuer/broker/agents.ts'
import { loggingIn } from '../issuer/broker/app-login.ts'
import { createApps } from '../issuer/broker/apps.ts'
import { delegating } from '../issuer/broker/delegation.ts'
import { createBrokerApp } from '../issuer/broker/http.ts'
import { launchBody } from '../issuer/broker/http-schemas.ts'
import { createLaunchTokens } from '../issuer/broker/launch-tokens.ts'
import { createNonces } from '../issuer/broker/nonces.ts'
import { openapiText } from '../issuer/broker/openapi.ts'
import { readingPresented } from '../issuer/broker/presented.ts'
import { registering } from '../issuer/broker/register.ts'
import { createRenewal } from '../issuer/broker/renewal.ts'
import type { BrokerRules } from '../issuer/broker/rules.ts'
import { issuing, recordingActs } from '../issuer/issuance.ts'
import { ownTokens } from '../issuer/own-token.ts'
import type { Fetch } from '../wire/http-listener.ts'
import { startSweeps } from './broker-sweeps.ts'
import type { IssuerParts } from './issuer.ts'
import { longestLifeMs } from './longest-life.ts'
import { agentRevoked, clientRevoked, ownRevoked } from './own-revoked.ts'
import type { Rulings } from './rulings.ts'

export interface BrokerNeeds {
  readonly version: string
  readonly started: Date
  readonly state: State
  /** What is written to the audit trail, with floods of failures as counts. */
  readonly trail: Pick<AuditSink, 'commit'>
  readonly issuer: IssuerParts
  readonly rulings: Rulings
  readonly metrics: Metrics
  readonly loaded: () => Loaded
  readonly newId: () => string
  readonly log: Logger
  readonly onFault: (cause: unknown) => void
}

/** The agent broker, and the upkeep of what the issuer remembers. */
export interface Broker {
  /** For the admin API. */
  readonly port: BrokerPort
  /** Serves `/v1/…` where the policy in force has the broker on, and everything else by `rest`. */
  readonly over: (rest: Fetch, admin: Fetch) => Fetch
  /** Agents that were active at the last sweep. */
  readonly activeAgents: () => number | undefined
  readonly close: () => void
}

const [asksPerSecond, asksBurst] = [20, 40]
const [loginsPerSecond, loginsBurst] = [5, 10]
const seconds = (ms: number): number => Math.ceil(ms / 1000)

/** What the policy says of agents. @throws {Unavailable} where no validator would admit their tokens */
export function brokerRules({ broker, identity }: Pick<Settings, 'broker' | 'identity'>): BrokerRules {
  const audience = broker.audience ?? identity.find((entry) => entry.type === 'postern')?.audience
  if (audience === undefined) throw new Unavailable('broker.audience is not set, and there is no validator of type postern')
  return {
    trustDomain: broker.trust_domain,
    audience,
    defaultTtl: seconds(broker.default_ttl),
    maxTtl: seconds(broker.max_ttl),
    appTokenTtl: seconds(broker.app_token_ttl),
    idleAfter: seconds(broker.idle_after),
    roles: broker.roles ?? [],
  }
}

/** Puts the broker together. State that does not answer yet stops nothing: what needs it is unavailable. */
export async function composeBroker(needs: BrokerNeeds): Promise<Broker> {
  const { version, started, state, trail, issuer, rulings, metrics, loaded, newId, log, onFault } = needs
  const { records } = state
  const clock = Date.now
  const { realm } = loaded().settings
  const rules = (): BrokerRules => brokerRules(loaded().settings)
  let secret: SharedSecret | undefined
  let closed = false
  /** Nothing is made in state for a broker that nobody has turned on. */
  const ready = async (): Promise<void> => {
    const opened = await openSharedSecret(state.secrets, 'broker-challenge')
    if (secret || closed) opened.close()
    else secret = opened
  }
  if (loaded().settings.broker.enabled) await ready()
  const record = recordingActs({ audit: trail, newId, realm, clock })
  const issue = issuing({ mint: issuer.mint, records, record, onIssued: metrics.tokenIssued })
  const isRevoked = ownRevoked(rulings, loaded)
  const onClockSkew = metrics.clockSkew
  const present = readingPresented({ verify: ownTokens({ issuer: issuer.url, keys: issuer.keys }), isRevoked, onClockSkew })
  const nonces = createNonces(() => secret?.current(), realm)
  const all = createApps({ records, record, clock })
  const isClientRevoked = clientRevoked(rulings)
  /** Those that may act: one that is revoked lets nobody in until that is lifted. */
  const apps = {
    get: async (id: string) => (isClientRevoked(id) ? undefined : all.get(id)),
    authenticate: async (id: string, secret: string) => (isClientRevoked(id) ? undefined : all.authenticate(id, secret)),
  }
  const launchTokens = createLaunchTokens({ records, record, clock, onCreated: metrics.launchTokenCreated })
  const agents = createAgents(records, agentRevoked(rulings))
  const revoke = rulings.revoke
  const upkeep = startSweeps({ records, record, revoke, longestLife: () => seconds(longestLifeMs(loaded().settings)), log, onFault })
  const logins = createLimit(loginsPerSecond, loginsBurst)
  const asks = createLimit(asksPerSecond, asksBurst)
  const looks = createLimit(asksPerSecond, asksBurst)
  let document: string | undefined

  const over = (rest: Fetch, admin: Fetch): Fetch => {
    const app = createBrokerApp({
      issuer: issuer.url,
      rules,
      present,
      nonces,
      register: registering({
        rules,
        apps,
        launchTokens,
        agents,
        nonces,
        replays: state.replays,
        issue,
        record,
        onClockSkew,
        onRegistration: (status) => {
          metrics.registration(status)
          if (status === 'success') upkeep.noteAgent(1)
        },
      }),
      renewal: createRenewal({
        rules,
        apps,
        agents,
        records,
        replays: state.replays,
        issue,
        record,
        revoke,
        onReleased: () => upkeep.noteAgent(-1),
      }),
      delegate: delegating({ rules, agents, issue, record }),
      apps,
      launchTokens,
      logIn: loggingIn({ audience: issuer.url, apps, rules, issue, record }),
      admin,
      limits: {
        logins: (address) => logins.take(limitKey(address)),
        asks: (address) => asks.take(limitKey(address)),
        looks: (address) => looks.take(limitKey(address)),
      },
      health: async () => ({
        version,
        uptime: Math.floor((Date.now() - started.getTime()) / 1000),
        ...(await reachable(state)),
      }),
      metrics,
      openapi: () => {
        document ??= openapiText({ version, server: issuer.url, adminPaths: brokerPaths(launchBody) })
        return document
      },
      observe: metrics.request,
      clock,
      onFault,
    })
    return async (request, connection) => {
      if (!loaded().settings.broker.enabled || !new URL(request.url).pathname.startsWith('/v1/')) return rest(request, connection)
      if (!secret) await ready()
      return app.fetch(request, connection)
    }
  }

  return {
    port: { apps: all, launchTokens, launchBody },
    over,
    activeAgents: () => (loaded().settings.broker.enabled ? upkeep.activeAgents() : undefined),
    close: () => {
      upkeep.close()
      closed = true
      secret?.close()
    },
  }
}

async function reachable({ audit, fault }: State): Promise<{ dbConnected: boolean; auditEvents: number }> {
  try {
    const [events, decisions] = await Promise.all([audit.size('events'), audit.size('decisions')])
    return { dbConnected: fault() === undefined, auditEvents: events + decisions }
  } catch (cause) {
    if (cause instanceof Unavailable) return { dbConnected: false, auditEvents: 0 }
    throw cause
  }
}
