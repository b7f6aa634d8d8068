import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { adminSecret } from '../support/admin.ts'
import { type Edge, type Placeholders, startEdge } from '../support/edge.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'

/** What policies of these tests refer to by `${env:…}`. */
export const secrets = {
  POSTERN_TEST_ADMIN_SECRET: adminSecret,
  POSTERN_TEST_ENCRYPTION_KEY: '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff',
}

export interface FaultEdge extends Edge {
  readonly at: Placeholders
  /** A token of the issuer that Envoy verifies. */
  readonly token: (subject: string, claims?: Readonly<Record<string, unknown>>) => Promise<string>
}

/** A policy of test/faults/fixtures, with values put between its `@` signs; those that are not among them stay. */
export function policyOf(name: string, values: Readonly<Record<string, string | number>>): string {
  const text = readFileSync(fileURLToPath(new URL(`fixtures/${name}`, import.meta.url)), 'utf8')
  return text.replace(/@([a-z]+)@/g, (whole, key: string) => (Object.hasOwn(values, key) ? String(values[key]) : whole))
}

/**
 * Envoy in plaintext with everything behind it.
 * @param start where the start itself is under test
 * @param concurrency worker threads of Envoy
 */
export async function startFaultEdge(
  policy: string,
  start: (policy: string, at: Placeholders) => Promise<RunningPostern> = (filled) => startPostern(filled, { env: secrets }),
  concurrency = 1,
): Promise<FaultEdge> {
  let at: Placeholders | undefined
  const file = 'behind-load-balancer.yaml'
  const starting = (filled: string, places: Placeholders): Promise<RunningPostern> => {
    at = places
    return start(filled, places)
  }
  const edge = await startEdge(file, policy, starting, concurrency)
  const token: FaultEdge['token'] = (subject, claims = {}) =>
    edge.users.mint({ sub: subject, aud: 'agentcube-router', realm_access: { roles: ['sandbox:invoke'] }, ...claims })
  return { ...edge, at: at!, token }
}
