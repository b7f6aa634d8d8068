// What the agent broker keeps and hands out, as the admin API and the broker's own know it. Times are seconds since the epoch.

/** A program that may let agents in, within its ceiling. */
export interface App {
  /** Also its `client_id`. */
  readonly id: string
  readonly name: string
  /** Ceiling of the launch tokens that it makes. */
  readonly scopes: readonly string[]
  /** Seconds that its own tokens live; undefined: `broker.app_token_ttl`. */
  readonly tokenTtl: number | undefined
  readonly createdAt: number
  readonly updatedAt: number
}

/** An app that was just made: the secret is shown this once. */
export interface NewApp {
  readonly app: App
  readonly secret: string
}

/** What an app is to be; in a change, what is absent stays. */
export interface AppOrder {
  readonly name: string
  readonly scopes: readonly string[]
  readonly tokenTtl: number | undefined
}

/** Apps, as the admin API manages them. @throws {Unavailable} all of them */
export interface Apps {
  /** @param actor who does it, for the audit trail */
  readonly create: (order: AppOrder, actor: string) => Promise<NewApp>
  readonly get: (id: string) => Promise<App | undefined>
  /** @param after the cursor of the page before */
  readonly list: (most: number, after?: string) => Promise<{ readonly apps: readonly App[]; readonly cursor: string | undefined }>
  /** @returns undefined where there is no such app */
  readonly update: (id: string, change: Partial<AppOrder>, actor: string) => Promise<App | undefined>
  /** @returns whether there was such an app */
  readonly remove: (id: string, actor: string) => Promise<boolean>
}

/** What a launch token is to be good for. */
export interface LaunchOrder {
  readonly agentName: string
  /** Ceiling of the agent's scopes. */
  readonly allowedScope: readonly string[]
  /** Seconds: the longest life of the agent's tokens. */
  readonly maxTtl: number
  readonly singleUse: boolean
  /** Seconds that the launch token itself lives. */
  readonly ttl: number
}

/** A launch token that was just made: 64 hexadecimal digits, shown this once. */
export interface NewLaunchToken {
  readonly token: string
  readonly expiresAt: number
}

/** Launch tokens, by which agents are let in. */
export interface LaunchTokens {
  /**
   * @param actor who makes it, for the audit trail
   * @param app whose launch token it is, within its ceiling; undefined: an admin's
   * @returns undefined where the scope is outside the app's ceiling; that is audited
   * @throws {Unavailable}
   */
  readonly create: (order: LaunchOrder, actor: string, app?: App) => Promise<NewLaunchToken | undefined>
}

/** Seconds: what a launch token is good for where nothing is said. */
export const launchDefaults = { maxTtl: 300, ttl: 30 } as const

/** The answer to whoever made a launch token. */
export const launchAnswer = ({ allowedScope, maxTtl }: LaunchOrder, { token, expiresAt }: NewLaunchToken) => ({
  launch_token: token,
  expires_at: new Date(expiresAt * 1000).toISOString(),
  policy: { allowed_scope: allowedScope, max_ttl: maxTtl },
})

/** A scope of a ceiling: one whose `*` is no whole trailing part would hold nothing, and is not what its writer meant. */
export const ceilingScope = /^(?:\*|[\x21\x23-\x29\x2b-\x5b\x5d-\x7e]+)(?::\*)*$/
export const ceilingExpected =
  'expected a scope such as read:data:*: 1 to 128 visible ASCII characters without quotes and backslashes, "*" only as whole parts at the end'

/** Scopes of an app's own tokens. */
export const appScopes = ['app:launch-tokens:*'] as const
