/** A network namespace of its own, for servers that listen on all addresses: nothing outside reaches them, and no port is taken. */
import { readlinkSync } from 'node:fs'
import { run } from '../../../deploy/local/command.mjs'
import { until } from '../../../test/support/until.ts'
import { startServer } from '../../process.ts'

export interface Namespace {
  /** Put before a command, it runs inside; as the same process. */
  readonly inside: readonly [string, ...string[]]
  readonly stop: () => Promise<void>
}

/**
 * Needs root, `unshare`, `nsenter` and `ip`. The namespace lives as long as what runs in it.
 * @param log path of a file
 * @returns when its loopback is up
 */
export async function openNamespace(folder: string, log: string): Promise<Namespace> {
  const holder = startServer('unshare', ['--net', 'sh', '-c', 'ip link set lo up && exec sleep infinity'], { cwd: folder, log })
  const own = `/proc/${holder.pid}/ns/net`
  const inside = ['nsenter', `--net=${own}`] as const
  const isUp = async () => {
    if (!holder.running()) throw new Error(`no network namespace could be made: ${holder.tail()}`)
    // Until the holder has left this process's own namespace, what is started "inside" would listen to the world.
    if (readlinkSync(own) === readlinkSync('/proc/self/ns/net')) return false
    return (await run('nsenter', [...inside.slice(1), 'ip', 'link', 'show', 'lo'])).includes('LOWER_UP')
  }
  try {
    await until('the network namespace', isUp)
  } catch (error) {
    await holder.stop()
    throw error
  }
  return { inside: [...inside], stop: () => holder.stop() }
}
