/**
 * Runs one throw-away Keycloak in the foreground: `node deploy/local/keycloak-run.mjs --port N REALM.json…`.
 * Its data lives in a temporary folder that goes with it. Ends on SIGTERM or Ctrl-C.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ensureKeycloak, freePort, keycloakCommand, makeKeycloakHome } from './keycloak.mjs'

const { values, positionals } = parseArgs({ options: { port: { type: 'string' } }, allowPositionals: true })
const found = await ensureKeycloak()
if ('reason' in found) {
  process.stderr.write(`${found.reason}\n`)
  process.exit(1)
}
const home = mkdtempSync(join(tmpdir(), 'postern-keycloak-'))
process.on('exit', () => rmSync(home, { recursive: true, force: true }))
makeKeycloakHome(found.home, home, positionals)
const [command, args] = keycloakCommand(home, values.port ? Number(values.port) : await freePort())
const child = spawn(command, args, { cwd: home, stdio: 'inherit', detached: true, env: { ...process.env, JAVA: found.java } })
/** @param {NodeJS.Signals} name */
const tell = (name) => {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, name)
  } catch {
    // It is gone already; its exit follows.
  }
}
for (const name of /** @type {const} */ (['SIGTERM', 'SIGINT', 'SIGHUP'])) process.on(name, () => tell('SIGTERM'))
process.on('exit', () => tell('SIGKILL'))
child.on('error', (error) => {
  process.stderr.write(`cannot start Keycloak: ${error.message}\n`)
  process.exit(1)
})
child.on('close', (code) => process.exit(code ?? 0))
