import { X509Certificate } from 'node:crypto'
import { constants, copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { freePort } from '../support/free-port.ts'
import { type Program, startProgram } from '../support/program.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import type { TrustDomain } from './domain.ts'

const shipped = fileURLToPath(new URL('../../deploy/kubernetes/spire/spiffe-helper.yaml', import.meta.url))

/** A spiffe-helper, and the folder that it writes to. */
export interface Helper {
  readonly spiffeId: string
  /** Holds svid.pem, svid_key.pem and svid_bundle.pem. */
  readonly certs: string
  readonly file: (name: 'svid.pem' | 'svid_key.pem' | 'svid_bundle.pem') => string
  /** The text of one of them, now. */
  readonly text: (name: 'svid.pem' | 'svid_key.pem' | 'svid_bundle.pem') => string
  /** The certificate's serial number, now; undefined while it is being written. */
  readonly serial: () => string | undefined
  readonly program: Program
  readonly stop: () => Promise<void>
}

/** The configuration that is shipped, with other paths. @param replacements text → text; each must occur */
export function helperConfiguration(replacements: Readonly<Record<string, string>>): string {
  const { data } = parse(readFileSync(shipped, 'utf8')) as { data: { 'helper.conf': string } }
  let text = data['helper.conf']
  for (const [from, to] of Object.entries(replacements)) {
    if (!text.includes(from)) throw new Error(`the configuration of spiffe-helper was expected to hold ${from}`)
    text = text.replaceAll(from, to)
  }
  return text
}

/**
 * Registers a workload and writes its files by spiffe-helper, with the configuration that is shipped.
 * @param options `seconds` of life of an SVID; `more` arguments of its registration entry; `change`: what its configuration says besides
 */
export async function startHelper(
  domain: TrustDomain,
  spiffeId: string,
  options: { seconds?: number; more?: readonly string[]; change?: Readonly<Record<string, string>> } = {},
): Promise<Helper> {
  const source = process.env['POSTERN_TEST_SPIFFE_HELPER']
  if (source === undefined) throw new Error('POSTERN_TEST_SPIFFE_HELPER is not set: run these tests with `npm test -- spire`')
  const folder: TemporaryFolder = temporaryFolder('helper')
  // The agent tells workloads apart by the program that asks: each has a copy of its own.
  const program = folder.file('spiffe-helper')
  copyFileSync(source, program, constants.COPYFILE_FICLONE)
  const certs = folder.file('certs')
  mkdirSync(certs, { mode: 0o700 })
  await domain.register(spiffeId, realpathSync(program), options)
  const config = folder.file('helper.conf')
  const replacements = {
    '/run/spire/agent-sockets/spire-agent.sock': domain.agentSocket,
    '/run/spire/certs': certs,
    'bind_port = 8081': `bind_port = ${await freePort()}`,
    ...options.change,
  }
  writeFileSync(config, helperConfiguration(replacements))
  const running = startProgram(program, ['-config', config])
  const stop = async (): Promise<void> => {
    await running.stop()
    folder.remove()
  }
  const file: Helper['file'] = (name) => `${certs}/${name}`
  const text: Helper['text'] = (name) => readFileSync(file(name), 'utf8')
  const serial = (): string | undefined => {
    try {
      return new X509Certificate(text('svid.pem')).serialNumber
    } catch {
      return undefined // not there, or half written
    }
  }
  try {
    const there = () => existsSync(file('svid_key.pem')) && existsSync(file('svid_bundle.pem')) && serial() !== undefined
    await until(`the files of ${spiffeId}`, there, 30_000)
  } catch (error) {
    await stop()
    throw new Error(`spiffe-helper wrote nothing:\n${[...running.stdout, ...running.stderr].slice(-15).join('\n')}`, { cause: error })
  }
  return { spiffeId, certs, file, text, serial, program: running, stop }
}
