import { type RunningKeycloak, startKeycloak } from './keycloak.ts'

let running: Promise<RunningKeycloak> | undefined

/**
 * The one Keycloak of all test files that mocha runs together: the first that asks starts it, and it ends after the last test.
 * Who changes the realm, hangs it or kills it puts it back.
 */
export function sharedKeycloak(): Promise<RunningKeycloak> {
  running ??= startKeycloak()
  return running
}

// On import this is outside of every suite, so that mocha runs it once, at the very end.
after(async function () {
  this.timeout(60_000)
  await (await running?.catch(() => undefined))?.stop()
})
