import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { cli } from './captured.ts'

/** A service with what `postern init` wrote. */
export interface Initialized {
  readonly folder: TemporaryFolder
  readonly service: RunningPostern
  /** Options by which commands find it. */
  readonly at: readonly string[]
  /** Its exit code is to be 0. */
  readonly stop: () => Promise<void>
}

/** Starts it on free ports. @param change of the policy, beside the ports */
export async function startInitialized(change: (policy: string) => string = (policy) => policy): Promise<Initialized> {
  const folder = temporaryFolder()
  assert.equal((await cli(['init', '--dir', folder.path])).code, 0)
  const [admin, issuer] = await freePorts(2)
  const policy = readFileSync(folder.file('postern.yaml'), 'utf8').replace(':9192', `:${admin}`).replace(':9193', `:${issuer}`)
  const service = await startPostern(change(policy), { folder })
  const stop = async () => {
    assert.equal(await service.stop(), 0)
    folder.remove()
  }
  return { folder, service, at: ['--config', service.config], stop }
}
