import { ok } from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { checkClient } from '../attacks/check.ts'
import { adminSecret } from '../support/admin.ts'
import { type Program, startProgram } from '../support/program.ts'
import type { TemporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { encodeRequest } from '../wire/support.ts'
import { policyOf, secrets } from './edge.ts'
import type { Call } from './kill-load.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** A service that is asked directly, with the policy of fixtures/kill.yaml. */
export interface Service {
  readonly program: Program
  readonly call: Call
  /** Reason of a Check with this credential. */
  readonly reason: (credential: string) => Promise<string>
  readonly kill: () => Promise<void>
}

/** Begins to start one again, with the policy that is there. */
export const serve = (folder: TemporaryFolder): Program =>
  startProgram(process.execPath, [main, 'serve', '--config', folder.file('postern.yaml')], { env: secrets, cwd: folder.path })

/**
 * @param state as in a policy
 * @param ports of the check, admin and issuer listener; that of the issuer is part of `iss`
 */
export async function startService(folder: TemporaryFolder, state: string, [check = 0, admin = 0, issuer = 0]: number[]): Promise<Service> {
  const at = (port: number) => `127.0.0.1:${port}`
  const policy = policyOf('kill.yaml', { check: at(check), admin: at(admin), issuer: at(issuer), state })
  writeFileSync(folder.file('postern.yaml'), policy, { mode: 0o600 })
  const program = serve(folder)
  const base = `http://${at(admin)}`
  const client = checkClient(at(check))
  let token: string | undefined
  const kill = async () => {
    program.signal('SIGKILL')
    await program.ended
    client.close()
  }
  const send = (method: string, path: string, body?: unknown) =>
    fetch(`${base}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  const said = () => [...program.stdout, ...program.stderr].slice(-10).join('\n')
  try {
    await until(
      'the service is ready',
      async () => {
        if (!program.running()) throw new Error(`it ended instead:\n${said()}`)
        return fetch(`${base}/readyz`).then(
          (answer) => answer.ok,
          () => false,
        )
      },
      20_000,
    )
    const login = await send('POST', '/v1/admin/auth', { secret: adminSecret })
    token = ((await login.json()) as { access_token: string }).access_token
    ok(token, `the login was answered ${login.status}`)
  } catch (error) {
    await kill()
    throw error
  }
  return {
    program,
    call: send,
    reason: async (credential) => {
      const headers = { ':authority': 'h', authorization: `Bearer ${credential}` }
      const request = { attributes: { request: { http: { method: 'GET', host: 'h', path: '/v1/sandboxes', headers } } } }
      const received = { method: 'GET', path: '/v1/sandboxes', headers: [] as [string, string][] }
      const ask = async () => {
        const outcome = await client.ask(encodeRequest(request as never), received as never)
        return outcome.kind === 'allow' ? 'ok' : (outcome.reason ?? outcome.detail)
      }
      // Right after the start it may not know yet what is revoked: then it refuses.
      return until('what is revoked is known', async () => {
        const reason = await ask()
        return !/unavailable/.test(reason) && reason
      })
    },
    kill,
  }
}
