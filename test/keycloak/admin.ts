import type { RunningKeycloak } from './keycloak.ts'

interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: Keycloak's representations, of which a test names what it needs.
  readonly body: any
}

/** Asks below /admin/realms. @throws on a status that is neither 2xx nor among `allowed` */
export type Admin = (method: string, path: string, body?: unknown, allowed?: readonly number[]) => Promise<Answer>

/** The administrator that every Keycloak of the tests has, as the scripts in deploy/keycloak read one. */
export const administrator = { KEYCLOAK_ADMIN_USER: 'admin', KEYCLOAK_ADMIN_PASSWORD: 'admin' }

const program = new URL('../../deploy/keycloak/admin.mjs', import.meta.url).href

/** Keycloak's admin API, by the code of the scripts that are deployed. */
export async function adminOf({ url }: RunningKeycloak): Promise<Admin> {
  const { connect } = (await import(program)) as { connect: (base: string, env: Readonly<Record<string, string>>) => Promise<Admin> }
  return connect(url, administrator)
}
