import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildBase } from '../../bench/base.ts'
import { SetupError } from '../../deploy/local/command.mjs'
import { adminSecret } from '../support/admin.ts'
import { type Program, startProgram } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

/** A program of Postern: its main file, and what it is called here. */
export interface Version {
  readonly main: string
  readonly name: string
}

/** What is in the checkout. */
export const now: Version = { main: fileURLToPath(new URL('../../src/main.ts', import.meta.url)), name: 'this version' }

/**
 * The version before: $POSTERN_UPGRADE_BASE (a tag, branch or commit), else the last release, else the commit before this one.
 * @returns it, or why there is none, as in a clone without history
 */
export async function earlier(): Promise<Version | { readonly reason: string }> {
  const base = process.env['POSTERN_UPGRADE_BASE'] || undefined
  try {
    const built = await buildBase(checkout, base, () => {})
    return { main: built.main, name: `version ${built.version}` }
  } catch (error) {
    // Who named a version wants that one.
    if (base !== undefined || !(error instanceof SetupError) || !error.message.startsWith('--base')) throw error
    return { reason: 'no earlier commit is in this clone: fetch its history, or name one in POSTERN_UPGRADE_BASE' }
  }
}

/** A replica of some version. */
export interface Replica {
  readonly version: Version
  readonly program: Program
  /** SIGTERM; gives the exit code. */
  readonly stop: () => Promise<number | null>
}

const secrets = { POSTERN_TEST_ADMIN_SECRET: adminSecret, POSTERN_TEST_ENCRYPTION_KEY: '00112233445566778899aabbccddeeff'.repeat(2) }

/**
 * Starts `postern serve` of a version, and waits until it is ready.
 * @param admin host:port of its admin listener
 * @throws with the end of its output when it ends instead
 */
export async function startReplica(version: Version, policy: string, admin: string): Promise<Replica> {
  const folder = temporaryFolder('replica')
  const config = folder.file('postern.yaml')
  writeFileSync(config, policy, { mode: 0o600 })
  const program = startProgram(process.execPath, [version.main, 'serve', '--config', config], { cwd: folder.path, env: secrets })
  const stop = async (): Promise<number | null> => {
    await program.stop(15_000)
    folder.remove()
    return (await program.ended).code
  }
  const ready = async (): Promise<boolean> => {
    if (!program.running()) throw new Error(`${version.name} ended:\n${[...program.stdout, ...program.stderr].slice(-15).join('\n')}`)
    return fetch(`http://${admin}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    )
  }
  try {
    await until(`${version.name} to be ready`, ready, 20_000)
    return { version, program, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
