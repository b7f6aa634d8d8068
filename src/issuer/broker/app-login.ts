import { appScopes } from '../../core/broker.ts'
import type { Minted } from '../../core/issuer.ts'
import type { Issuance, RecordAct } from '../issuance.ts'
import type { AppRegister } from './apps.ts'
import type { BrokerRules } from './rules.ts'

export interface AppLoginNeeds {
  /** The audience of apps' tokens: the issuer itself. */
  readonly audience: string
  readonly apps: Pick<AppRegister, 'authenticate'>
  readonly rules: () => Pick<BrokerRules, 'appTokenTtl'>
  readonly issue: Issuance
  readonly record: RecordAct
}

/**
 * An app's secret for a short token, good for making launch tokens within its ceiling and for nothing else.
 * @param from the address that asks; empty: unknown
 * @returns undefined where the app is unknown or this is not its secret
 * @throws {Unavailable}
 */
export const loggingIn =
  ({ audience, apps, rules, issue, record }: AppLoginNeeds) =>
  async (id: string, secret: string, from: string, now: number): Promise<Minted | undefined> => {
    const detail = from === '' ? {} : { detail: { from } }
    const app = await apps.authenticate(id, secret)
    if (!app) {
      await record({ type: 'app_login', outcome: 'failure', reason: 'invalid_client', ...detail })
      return undefined
    }
    const ttl = app.tokenTtl ?? rules().appTokenTtl
    const order = { kind: 'app', audience, subject: app.id, client: app.id, scopes: appScopes, ttl, now } as const
    const minted = await issue(order, { actor: app.id, grant: 'app_auth' })
    await record({ type: 'app_login', outcome: 'success', actor: app.id, target: minted.id, ...detail })
    return minted
  }
